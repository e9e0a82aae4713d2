"""RetrievalService: protobuf to domain and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rank_svc.features.store import Interaction
from rank_svc.retrieval.queries import Offer, RetrievalQueries
from rank_svc.retrieval.sources import Signal, Source
from rank_svc.retrieval.taste import ViewerInput
from reelgraph.rank.v1 import features_pb2, retrieval_pb2, retrieval_pb2_grpc
from svc_kit.errors import invalid

MOST_RECENT = 100
_SOURCES = {
    retrieval_pb2.CANDIDATE_SOURCE_TASTE: Source.TASTE,
    retrieval_pb2.CANDIDATE_SOURCE_SIMILAR_VIEWERS: Source.SIMILAR_VIEWERS,
    retrieval_pb2.CANDIDATE_SOURCE_SIMILAR_VIDEO: Source.SIMILAR_VIDEO,
    retrieval_pb2.CANDIDATE_SOURCE_NEW: Source.NEW,
    retrieval_pb2.CANDIDATE_SOURCE_COLD_START: Source.COLD_START,
}
_NUMBERS = {source: number for number, source in _SOURCES.items()}
_SIGNALS = {signal: retrieval_pb2.CandidateSignal.Value(f"CANDIDATE_SIGNAL_{signal}") for signal in Signal}


class RetrievalServicer(retrieval_pb2_grpc.RetrievalServiceServicer):
    """See `retrieval.proto`."""

    def __init__(self, queries: RetrievalQueries) -> None:
        self._queries = queries

    async def RetrieveCandidates(
        self, request: retrieval_pb2.RetrieveCandidatesRequest, context: Any
    ) -> retrieval_pb2.RetrieveCandidatesResponse:
        offers, version = await self._queries.candidates(
            viewer_of(request.viewer), _quotas(request), request.exclude_video_ids, request.exclude_author_ids
        )
        answer = retrieval_pb2.RetrieveCandidatesResponse(model_version=version)
        _add(answer.candidates, offers)
        return answer

    async def ListSimilarVideos(
        self, request: retrieval_pb2.ListSimilarVideosRequest, context: Any
    ) -> retrieval_pb2.ListSimilarVideosResponse:
        offers = await self._queries.similar(request.video_id, request.page_size)
        answer = retrieval_pb2.ListSimilarVideosResponse()
        _add(answer.candidates, offers)
        return answer


def viewer_of(context: features_pb2.ViewerContext) -> ViewerInput:
    """The viewer of a request; what makes no sense in it is left out."""
    return ViewerInput(
        max(context.viewer_id, 0),
        context.client.language,
        context.client.region,
        context.client.device,
        context.local_hour % 24,
        tuple(context.interests),
        tuple(_interaction(made) for made in context.recent[:MOST_RECENT] if made.video_id > 0),
    )


def _interaction(made: features_pb2.Interaction) -> Interaction:
    return Interaction(
        made.video_id,
        max(made.author_id, 0),
        max(made.watched_ms, 0),
        max(made.duration_ms, 0),
        max(made.at_ms, 0),
        liked=made.liked,
        completed=made.completed,
        skipped=made.skipped,
        not_interested=made.not_interested,
    )


def _quotas(request: retrieval_pb2.RetrieveCandidatesRequest) -> dict[Source, int]:
    quotas = {}
    for i, quota in enumerate(request.quotas):
        source = _SOURCES.get(quota.source)
        if source is None:
            raise invalid(f"quotas.{i}.source", f"quotas.{i}.source: there is no source {quota.source}.")
        if quota.limit < 0:
            raise invalid(f"quotas.{i}.limit", f"quotas.{i}.limit must not be negative; it is {quota.limit}.")
        quotas[source] = quota.limit
    return quotas


def _add(answered: Any, offers: Sequence[Offer]) -> None:
    """Append to a repeated field: half of what messages made one by one and copied would cost."""
    add = answered.add
    for candidate, facts, trial in offers:
        added = add(
            video_id=candidate.video_id,
            author_id=facts.author_id,
            source=_NUMBERS[candidate.source],
            score=candidate.score,
            published_at_ms=facts.published_at_ms,
            hashtags=facts.hashtags,
        )
        if candidate.seed_video_id:
            added.seed_video_id = candidate.seed_video_id
        if candidate.signal:
            added.signal = _SIGNALS[candidate.signal]
        if trial:
            added.trial.impressions = trial.impressions
            added.trial.guaranteed = trial.guaranteed
            added.trial.completions = trial.completions
            added.trial.watches = trial.watches
            added.trial.typical_completion = trial.typical
