"""Videos as media_svc has them."""

from __future__ import annotations

from collections.abc import Sequence

from rank_svc.features.store import VideoFacts
from reelgraph.media.v1.videos_pb2 import ListPublishedVideosRequest, Visibility
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.rpc.client import AS_SERVICE, Peer


class RpcVideoDirectory:
    """See `VideoDirectory`."""

    def __init__(self, peer: Peer, stub: VideoServiceStub) -> None:
        self._peer = peer
        self._stub = stub

    async def published(self, after_id: int, limit: int) -> Sequence[tuple[VideoFacts, int]]:
        request = ListPublishedVideosRequest(page_size=limit, after_id=after_id)
        response = await self._peer.call(self._stub.ListPublishedVideos, request, AS_SERVICE)
        return [
            (
                VideoFacts(
                    *(video.id, video.author_id, tuple(video.hashtags), video.language),
                    Visibility.Name(video.visibility).removeprefix("VISIBILITY_"),
                    video.duration_ms,
                    video.has_audio,
                    video.created_at.ToMilliseconds(),
                ),
                video.version,
            )
            for video in response.videos
        ]
