"""RetrievalService: protobuf to domain and back."""

from __future__ import annotations

from typing import Any

from rank_svc.features.store import Interaction
from rank_svc.retrieval.queries import Offer, RetrievalQueries
from rank_svc.retrieval.sources import Source
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
        candidates = [_candidate(offer) for offer in offers]
        return retrieval_pb2.RetrieveCandidatesResponse(candidates=candidates, model_version=version)

    async def ListSimilarVideos(
        self, request: retrieval_pb2.ListSimilarVideosRequest, context: Any
    ) -> retrieval_pb2.ListSimilarVideosResponse:
        offers = await self._queries.similar(request.video_id, request.page_size)
        return retrieval_pb2.ListSimilarVideosResponse(candidates=[_candidate(offer) for offer in offers])


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


def _candidate(offer: Offer) -> retrieval_pb2.Candidate:
    candidate, facts, trial = offer.candidate, offer.facts, offer.trial
    return retrieval_pb2.Candidate(
        video_id=candidate.video_id,
        author_id=facts.author_id,
        source=_NUMBERS[candidate.source],
        score=candidate.score,
        seed_video_id=candidate.seed_video_id,
        published_at_ms=facts.published_at_ms,
        hashtags=facts.hashtags,
        signal=f"CANDIDATE_SIGNAL_{candidate.signal}" if candidate.signal else None,
        trial=retrieval_pb2.Trial(
            impressions=trial.impressions,
            guaranteed=trial.guaranteed,
            completions=trial.completions,
            watches=trial.watches,
            typical_completion=trial.typical,
        )
        if trial
        else None,
    )
