"""What a caller may see of videos and comments. Visibility itself is media_svc's decision."""

from __future__ import annotations

from collections.abc import Sequence

from graph_svc.engagement.store import Blocks, EngagementStore, SeenVideo, StoredComment, VideoDirectory
from svc_kit.caller import Caller
from svc_kit.errors import not_found


class Sight:
    """Asks who may see what. Every answer fails closed: what can't be told raises."""

    def __init__(self, store: EngagementStore, videos: VideoDirectory, blocks: Blocks) -> None:
        self._store = store
        self._videos = videos
        self._blocks = blocks

    async def video(self, caller: Caller, video_id: int) -> SeenVideo:
        """A video that the caller may see; else NOT_FOUND on `video_id`."""
        video = (await self._videos.visible(caller, [video_id])).get(video_id)
        if video is None:
            raise not_found("video_id", "video")
        return video

    async def sees_video(self, caller: Caller, video_id: int) -> bool:
        """Whether the caller may see a video."""
        return video_id in await self._videos.visible(caller, [video_id])

    async def comment(self, caller: Caller, comment_id: int) -> StoredComment:
        """A comment that stands and that the caller may see; else NOT_FOUND on `comment_id`."""
        comment = (await self._store.comments([comment_id])).get(comment_id)
        if comment is None or comment.text is None or not await self.comments(caller, [comment]):
            raise not_found("comment_id", "comment")
        return comment

    async def comments(self, caller: Caller, comments: Sequence[StoredComment]) -> list[StoredComment]:
        """Those under videos that the caller may see, by writers that no block keeps from the caller."""
        if not comments:
            return []
        videos = await self._videos.visible(caller, sorted({comment.video_id for comment in comments}))
        return await self.unblocked(caller, [comment for comment in comments if comment.video_id in videos])

    async def unblocked(self, caller: Caller, comments: Sequence[StoredComment]) -> list[StoredComment]:
        """Those by writers that no block keeps from the caller."""
        if not comments:
            return []
        blocked = await self._blocks.blocked(caller.user_id, sorted({comment.author_id for comment in comments}))
        return [comment for comment in comments if comment.author_id not in blocked]
