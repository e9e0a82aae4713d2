"""What fan-out asks of graph_svc and media_svc."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from feed_svc.fanout.store import FollowerPage, Post, TimelineEntry
from reelgraph.graph.v1.follows_pb2 import (
    BatchGetFollowCountsRequest,
    GetKnownActivityRequest,
    GetViewerGraphRequest,
    ListFollowerIdsRequest,
)
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceStub
from reelgraph.media.v1.videos_pb2 import ListPublishedVideosRequest, Visibility
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.caller import Caller
from svc_kit.rpc.client import AS_SERVICE, Peer

KNOWN_ACTIVITY_S: Final = 0.2
"""A feed waits for the answer, which only decides how long an inbox lasts."""


class RpcFollowGraph:
    """`FollowGraph` by graph_svc's FollowService."""

    def __init__(self, peer: Peer, stub: FollowServiceStub) -> None:
        self._peer = peer
        self._stub = stub

    async def follower_count(self, author_id: int) -> int:
        request = BatchGetFollowCountsRequest(user_ids=[author_id])
        answer = await self._peer.call(self._stub.BatchGetFollowCounts, request, AS_SERVICE)
        return sum(counts.follower_count for counts in answer.counts)

    async def active_followers(self, author_id: int, after_id: int, limit: int, since_ms: int) -> FollowerPage:
        request = ListFollowerIdsRequest(
            user_id=author_id, page_size=limit, after_id=after_id, active_since_ms=since_ms
        )
        answer = await self._peer.call(self._stub.ListFollowerIds, request, AS_SERVICE)
        found = list(answer.user_ids)
        # A graph_svc from before `next_after_id` answers all followers, a page short only at the end.
        return FollowerPage(found, answer.next_after_id or (found[-1] if len(found) == limit else 0))

    async def known_activity(self, user_id: int) -> int:
        request = GetKnownActivityRequest(user_id=user_id)
        answer = await self._peer.call(self._stub.GetKnownActivity, request, AS_SERVICE, timeout_s=KNOWN_ACTIVITY_S)
        return int(answer.active_at_ms)

    async def followee_ids(self, user_id: int) -> Sequence[int]:
        acting = Caller(user_id=user_id, is_service=True)
        return list((await self._peer.call(self._stub.GetViewerGraph, GetViewerGraphRequest(), acting)).followee_ids)


class RpcPublishedVideos:
    """`PublishedVideos` by media_svc's VideoService."""

    def __init__(self, peer: Peer, stub: VideoServiceStub) -> None:
        self._peer = peer
        self._stub = stub

    async def page(self, after_id: int, limit: int) -> Sequence[TimelineEntry]:
        request = ListPublishedVideosRequest(page_size=limit, after_id=after_id)
        answer = await self._peer.call(self._stub.ListPublishedVideos, request, AS_SERVICE)
        return [
            TimelineEntry(
                Post(video.id, video.author_id, video.created_at.ToMilliseconds()),
                Visibility.Name(video.visibility).removeprefix("VISIBILITY_"),
                tuple(video.hashtags),
                video.duration_ms,
                video.language,
                video.version,
            )
            for video in answer.videos
        ]
