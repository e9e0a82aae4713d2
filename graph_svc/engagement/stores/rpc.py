"""Videos as media_svc answers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc

from graph_svc.engagement.store import SeenVideo
from reelgraph.media.v1.videos_pb2 import BatchGetVideosRequest
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.caller import Caller
from svc_kit.rpc.client import Peer


class RpcVideoDirectory:
    """See `VideoDirectory`."""

    def __init__(self, peer: Peer, channel: grpc.aio.Channel) -> None:
        self._peer = peer
        self._videos = VideoServiceStub(channel)

    async def visible(self, caller: Caller, video_ids: Sequence[int]) -> Mapping[int, SeenVideo]:
        ids = sorted(set(video_ids))
        if not ids:
            return {}
        answer = await self._peer.call(self._videos.BatchGetVideos, BatchGetVideosRequest(ids=ids), caller)
        return {video.id: SeenVideo(video.id, video.author_id, video.allow_comments) for video in answer.videos}
