"""What a viewer says of their feed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feed_svc.feeds.store import NotInterestedStore, VideoDirectory
from reelgraph.events.v1.feed_pb2 import FeedNotInterested
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import not_found
from svc_kit.uow import UnitOfWork, idempotent


@dataclass(frozen=True, slots=True)
class NotInterested:
    """The video that was refused."""

    video_id: int


class FeedCommands:
    """`acted` is told the viewer after a commit that changed something: their feed is ranked anew."""

    def __init__(
        self,
        store: NotInterestedStore,
        videos: VideoDirectory,
        replies: UnitOfWork,
        clock: Clock,
        *,
        acted: Callable[[int], None],
    ) -> None:
        self.replies = replies
        self._store = store
        self._videos = videos
        self._clock = clock
        self._acted = acted

    @idempotent
    async def mark_not_interested(self, caller: Caller, video_id: int) -> NotInterested:
        """Never show the video again, and its like less. Raises NOT_FOUND for one that the viewer may not see."""
        viewer = caller.viewer()
        video = (await self._videos.visible(viewer, [video_id])).get(video_id)
        if video is None:
            raise not_found("video_id", "video")
        async with self._store.begin(caller) as tx:
            if changed := await tx.refuse(viewer, video, now_ms(self._clock)):
                tx.emit(
                    entity=f"not_interested:{viewer}:{video_id}",
                    version=1,
                    actor_id=viewer,
                    feed_not_interested=FeedNotInterested(
                        user_id=viewer, video_id=video_id, author_id=video.author_id, hashtags=video.hashtags
                    ),
                )
            result = await tx.reply(NotInterested(video_id))
        if changed:
            self._acted(viewer)
        return result
