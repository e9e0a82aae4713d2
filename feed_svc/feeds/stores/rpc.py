"""What the feeds ask of graph_svc, media_svc and rank_svc."""

from __future__ import annotations

from collections.abc import Sequence

from feed_svc.feeds.store import (
    Candidate,
    ClientHints,
    Ranked,
    Relations,
    Retrieved,
    Trial,
    VideoFacts,
    ViewerContext,
)
from reelgraph.common.v1.client_pb2 import ClientContext
from reelgraph.graph.v1.accounts_pb2 import BatchGetInterestsRequest
from reelgraph.graph.v1.accounts_pb2_grpc import AccountServiceStub
from reelgraph.graph.v1.follows_pb2 import GetViewerGraphRequest
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceStub
from reelgraph.media.v1.videos_pb2 import BatchGetVideosRequest, VideoState, Visibility
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from reelgraph.rank.v1 import features_pb2, retrieval_pb2
from reelgraph.rank.v1.ranking_pb2 import RankCandidatesRequest
from reelgraph.rank.v1.ranking_pb2_grpc import RankingServiceStub
from reelgraph.rank.v1.retrieval_pb2 import CandidateSignal, CandidateSource, RetrieveCandidatesRequest
from reelgraph.rank.v1.retrieval_pb2_grpc import RetrievalServiceStub
from svc_kit.caller import Caller
from svc_kit.rpc.client import AS_SERVICE, Peer

MOST_EXCLUDED = 5000
UNKNOWN_TYPICAL = 0.35


def acting_for(viewer_id: int) -> Caller:
    """This service, acting for a viewer; nobody's caller for 0. A viewer's own token might expire while a build that
    outlives its request goes on."""
    return Caller(user_id=viewer_id, is_service=True) if viewer_id else Caller()


class RpcVideoDirectory:
    """`VideoDirectory` by media_svc's VideoService."""

    def __init__(self, peer: Peer, stub: VideoServiceStub) -> None:
        self._peer = peer
        self._stub = stub

    async def visible(self, viewer_id: int, video_ids: Sequence[int]) -> dict[int, VideoFacts]:
        request = BatchGetVideosRequest(ids=video_ids)
        answer = await self._peer.call(self._stub.BatchGetVideos, request, acting_for(viewer_id))
        return {
            video.id: VideoFacts(
                video.id,
                video.author_id,
                tuple(video.hashtags),
                video.visibility == Visibility.VISIBILITY_PUBLIC,
                video.duration_ms,
                video.created_at.ToMilliseconds(),
                video.language,
            )
            for video in answer.videos
            if video.state == VideoState.VIDEO_STATE_READY
        }


class RpcRelations:
    """`RelationsSource` by graph_svc's FollowService."""

    def __init__(self, peer: Peer, stub: FollowServiceStub) -> None:
        self._peer = peer
        self._stub = stub

    async def relations(self, viewer_id: int) -> Relations:
        answer = await self._peer.call(self._stub.GetViewerGraph, GetViewerGraphRequest(), acting_for(viewer_id))
        return Relations(
            frozenset(answer.followee_ids),
            frozenset(answer.friend_ids),
            frozenset(answer.blocked_ids),
            frozenset(answer.muted_ids),
        )


class RpcInterests:
    """`InterestsSource` by graph_svc's AccountService."""

    def __init__(self, peer: Peer, stub: AccountServiceStub) -> None:
        self._peer = peer
        self._stub = stub

    async def interests(self, viewer_id: int) -> tuple[str, ...]:
        request = BatchGetInterestsRequest(account_ids=[viewer_id])
        answer = await self._peer.call(self._stub.BatchGetInterests, request, AS_SERVICE)
        return tuple(tag for interests in answer.interests for tag in interests.hashtags)


class RpcRetrieval:
    """`Retrieval` by rank_svc's RetrievalService."""

    def __init__(self, peer: Peer, stub: RetrievalServiceStub) -> None:
        self._peer = peer
        self._stub = stub

    async def retrieve(
        self, viewer: ViewerContext, exclude_videos: Sequence[int], exclude_authors: Sequence[int]
    ) -> Retrieved:
        request = RetrieveCandidatesRequest(
            viewer=_context(viewer),
            exclude_video_ids=exclude_videos[:MOST_EXCLUDED],
            exclude_author_ids=exclude_authors[:MOST_EXCLUDED],
        )
        answer = await self._peer.call(self._stub.RetrieveCandidates, request, AS_SERVICE)
        candidates = [
            Candidate(
                c.video_id,
                c.author_id,
                CandidateSource.Name(c.source).removeprefix("CANDIDATE_SOURCE_").lower(),
                c.score,
                c.seed_video_id,
                tuple(c.hashtags),
                _trial(c.trial) if c.HasField("trial") else None,
                CandidateSignal.Name(c.signal).removeprefix("CANDIDATE_SIGNAL_").lower() if c.signal else "",
                answer.model_version,
            )
            for c in answer.candidates
        ]
        return Retrieved(candidates, answer.model_version)


class RpcRanker:
    """`Ranker` by rank_svc's RankingService."""

    def __init__(self, peer: Peer, stub: RankingServiceStub) -> None:
        self._peer = peer
        self._stub = stub

    async def rank(self, viewer: ViewerContext, video_ids: Sequence[int], followed: Sequence[bool]) -> Ranked:
        request = RankCandidatesRequest(
            viewer=_context(viewer),
            video_ids=video_ids,
            followed=followed,
            weights=viewer.value_weights,
            model_version=viewer.model_version,
        )
        answer = await self._peer.call(self._stub.RankCandidates, request, AS_SERVICE)
        return Ranked({c.video_id: c.score for c in answer.candidates}, answer.model_version)


def _trial(trial: retrieval_pb2.Trial) -> Trial:
    return Trial(
        trial.impressions,
        trial.guaranteed,
        trial.completions,
        trial.watches,
        trial.typical_completion or UNKNOWN_TYPICAL,
    )


def _context(viewer: ViewerContext) -> features_pb2.ViewerContext:
    return features_pb2.ViewerContext(
        viewer_id=viewer.viewer_id,
        client=_client(viewer.client),
        recent=[
            features_pb2.Interaction(
                video_id=act.video_id,
                author_id=act.author_id,
                watched_ms=act.watched_ms,
                duration_ms=act.duration_ms,
                at_ms=act.at_ms,
                liked=act.liked,
                completed=act.completed,
                skipped=act.skipped,
                not_interested=act.not_interested,
            )
            for act in viewer.recent
        ],
        interests=viewer.interests,
        local_hour=viewer.local_hour,
    )


def _client(hints: ClientHints) -> ClientContext:
    return ClientContext(
        client_id=hints.client_id,
        device=hints.device,
        timezone=hints.timezone,
        language=hints.language,
        region=hints.region,
    )
