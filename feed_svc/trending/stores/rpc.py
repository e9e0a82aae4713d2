"""What trending asks of media_svc."""

from __future__ import annotations

from collections.abc import Sequence

from feed_svc.trending.store import TrendingVideo
from reelgraph.media.v1.videos_pb2 import (
    BatchGetVideosRequest,
    ListPublishedVideosRequest,
    Video,
    VideoState,
    Visibility,
)
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.caller import Caller
from svc_kit.rpc.client import AS_SERVICE, Peer


class RpcVideoDirectory:
    """`VideoDirectory` by media_svc's VideoService."""

    def __init__(self, peer: Peer, stub: VideoServiceStub) -> None:
        self._peer = peer
        self._stub = stub

    async def visible(self, caller: Caller, video_ids: Sequence[int]) -> frozenset[int]:
        if not video_ids:
            return frozenset()
        answer = await self._peer.call(self._stub.BatchGetVideos, BatchGetVideosRequest(ids=video_ids), caller)
        return frozenset(video.id for video in answer.videos if _is_shown(video))

    async def published(self, after_id: int, limit: int) -> Sequence[TrendingVideo]:
        request = ListPublishedVideosRequest(page_size=limit, after_id=after_id)
        answer = await self._peer.call(self._stub.ListPublishedVideos, request, AS_SERVICE)
        return [
            TrendingVideo(v.id, v.author_id, v.version, _is_shown(v), v.created_at.ToMilliseconds())
            for v in answer.videos
        ]


def _is_shown(video: Video) -> bool:
    return video.visibility == Visibility.VISIBILITY_PUBLIC and video.state == VideoState.VIDEO_STATE_READY
