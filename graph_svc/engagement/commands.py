"""Everything that changes likes and shares, and what the end of a video ends; comments are in `commenting`."""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.message import Message

from graph_svc.engagement.sight import Sight
from graph_svc.engagement.store import (
    EngagementStore,
    EngagementTx,
    Likable,
    Like,
    SeenVideo,
    StoredComment,
    StoredShare,
)
from graph_svc.engagement.views import CommentView, VideoEngagement, Views
from reelgraph.events.v1 import engagement_pb2 as events
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import invalid
from svc_kit.uow import UnitOfWork, idempotent

CHANNELS = ("LINK", "MESSAGE", "EMAIL", "QR", "OTHER")


class EngagementCommands:
    """Likes and shares. What the caller may not see is NOT_FOUND, on `video_id` or `comment_id`."""

    def __init__(self, store: EngagementStore, sight: Sight, views: Views, clock: Clock, replies: UnitOfWork) -> None:
        self._store = store
        self._sight = sight
        self._views = views
        self._clock = clock
        self.replies = replies

    @idempotent
    async def like_video(self, caller: Caller, video_id: int) -> VideoEngagement:
        """Like a video."""
        return await self._turn_video(caller, video_id, True)

    @idempotent
    async def unlike_video(self, caller: Caller, video_id: int) -> VideoEngagement:
        """Take a like back."""
        return await self._turn_video(caller, video_id, False)

    async def _turn_video(self, caller: Caller, video_id: int, active: bool) -> VideoEngagement:
        video = await self._sight.video(caller, video_id)
        before = await self._numbers(caller, video_id)
        async with self._store.begin(caller) as tx:
            changed = await self._turn(tx, Likable.VIDEO, caller.viewer(), video, active)
            count = max(0, before.like_count + changed)
            return await tx.reply(replace(before, like_count=count, viewer_has_liked=active))

    @idempotent
    async def like_comment(self, caller: Caller, comment_id: int) -> CommentView:
        """Like a comment."""
        return await self._turn_comment(caller, comment_id, True)

    @idempotent
    async def unlike_comment(self, caller: Caller, comment_id: int) -> CommentView:
        """Take a comment's like back."""
        return await self._turn_comment(caller, comment_id, False)

    async def _turn_comment(self, caller: Caller, comment_id: int, active: bool) -> CommentView:
        comment = await self._sight.comment(caller, comment_id)
        (before,) = await self._views.comments(caller.viewer(), [comment])
        async with self._store.begin(caller) as tx:
            changed = await self._turn(tx, Likable.COMMENT, caller.viewer(), comment, active)
            count = max(0, before.like_count + changed)
            return await tx.reply(replace(before, like_count=count, viewer_has_liked=active))

    async def _turn(
        self, tx: EngagementTx, kind: Likable, user_id: int, subject: SeenVideo | StoredComment, active: bool
    ) -> int:
        """Set or end a like; by how much that changes its subject's number."""
        like = await tx.like(kind, user_id, subject.id)
        if (like is not None and like.active) == active:
            return 0
        version = 1 if like is None else like.version + 1
        await tx.put_like(kind, Like(user_id, subject.id, subject.author_id, active, version))
        if isinstance(subject, SeenVideo):
            entity, body = f"like:{user_id}:{subject.id}", _video_event(user_id, subject, active)
        else:
            entity, body = f"comment_like:{user_id}:{subject.id}", _comment_event(user_id, subject, active)
        tx.emit(entity=entity, version=version, actor_id=user_id, **body)
        return 1 if active else -1

    @idempotent
    async def share_video(self, caller: Caller, video_id: int, channel: str) -> VideoEngagement:
        """Count a share by one of `CHANNELS`."""
        if channel not in CHANNELS:
            raise invalid("channel", f"channel must be one of {', '.join(CHANNELS)}.")
        viewer = caller.viewer()
        video = await self._sight.video(caller, video_id)
        before = await self._numbers(caller, video_id)
        async with self._store.begin(caller) as tx:
            share = StoredShare(tx.new_id(), viewer, video_id, video.author_id, channel, now_ms(self._clock))
            await tx.add_share(share)
            shared = events.EngagementVideoShared(
                share_id=share.id, user_id=viewer, video_id=video_id, author_id=video.author_id, channel=channel
            )
            tx.emit(entity=f"share:{share.id}", version=1, actor_id=viewer, engagement_video_shared=shared)
            return await tx.reply(replace(before, share_count=before.share_count + 1))

    async def _numbers(self, caller: Caller, video_id: int) -> VideoEngagement:
        # Before the transaction: a second connection inside of one could wait for ever for the first.
        (numbers,) = await self._views.videos(caller.viewer(), [video_id])
        return numbers


def _video_event(user_id: int, video: SeenVideo, active: bool) -> dict[str, Message]:
    ids = {"user_id": user_id, "video_id": video.id, "author_id": video.author_id}
    if active:
        return {"engagement_video_liked": events.EngagementVideoLiked(**ids)}
    return {"engagement_video_unliked": events.EngagementVideoUnliked(**ids)}


def _comment_event(user_id: int, comment: StoredComment, active: bool) -> dict[str, Message]:
    if not active:
        return {"engagement_comment_unliked": events.EngagementCommentUnliked(user_id=user_id, comment_id=comment.id)}
    liked = events.EngagementCommentLiked(
        user_id=user_id, comment_id=comment.id, video_id=comment.video_id, comment_author_id=comment.author_id
    )
    return {"engagement_comment_liked": liked}
