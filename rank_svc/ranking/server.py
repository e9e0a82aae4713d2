"""RankingService: protobuf to domain and back."""

from __future__ import annotations

from typing import Any

from rank_svc.ranking.queries import RankingQueries
from rank_svc.retrieval.server import viewer_of
from reelgraph.rank.v1 import ranking_pb2, ranking_pb2_grpc

_FIELDS = ("like", "share", "completion", "watch_ms", "comment", "negative")


class RankingServicer(ranking_pb2_grpc.RankingServiceServicer):
    """See `ranking.proto`."""

    def __init__(self, queries: RankingQueries) -> None:
        self._queries = queries

    async def RankCandidates(
        self, request: ranking_pb2.RankCandidatesRequest, context: Any
    ) -> ranking_pb2.RankCandidatesResponse:
        ranked = await self._queries.rank(
            *(viewer_of(request.viewer), request.video_ids, request.followed, dict(request.weights)),
            version=request.model_version,
        )
        predicted = {name: ranked.predictions.values[name].tolist() for name in _FIELDS}
        scores, affinity = ranked.scores.tolist(), ranked.affinity.tolist()
        candidates = [
            ranking_pb2.RankedCandidate(
                video_id=video_id,
                score=scores[i],
                affinity=affinity[i],
                **{name: column[i] for name, column in predicted.items()},
            )
            for i, video_id in enumerate(request.video_ids)
        ]
        return ranking_pb2.RankCandidatesResponse(candidates=candidates, model_version=ranked.version)
