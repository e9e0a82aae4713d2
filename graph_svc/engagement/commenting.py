"""Everything that changes comments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graph_svc.engagement.sight import Sight
from graph_svc.engagement.store import EngagementStore, EngagementTx, Names, StoredComment
from graph_svc.engagement.views import CommentView
from reelgraph.events.v1 import engagement_pb2 as events
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import UserCode, forbidden, invalid, not_found
from svc_kit.text import mentions_of, printable, visible
from svc_kit.uow import UnitOfWork, idempotent

MAX_TEXT_CHARS = 2200
MAX_MENTIONS = 20
"""Further ones are text like any other."""
ERASED_A_TRANSACTION = 200


@dataclass(frozen=True, slots=True)
class DeletedComment:
    """A comment that is no more."""

    comment_id: int


class CommentCommands:
    """Write and delete comments. What the caller may not see is NOT_FOUND, on the field that names it."""

    def __init__(self, store: EngagementStore, sight: Sight, names: Names, clock: Clock, replies: UnitOfWork) -> None:
        self._store = store
        self._sight = sight
        self._names = names
        self._clock = clock
        self.replies = replies

    @idempotent
    async def add_comment(self, caller: Caller, video_id: int, text: str, parent_id: int) -> CommentView:
        """Write a comment, or (with `parent_id`) a reply. BAD_USER_INPUT on `text`, FORBIDDEN on `video_id` where
        comments are turned off."""
        viewer, text = caller.viewer(), _checked(text)
        video = await self._sight.video(caller, video_id)
        if not video.allow_comments:
            raise forbidden("video_id", "Comments are turned off for this video.")
        answered = await self._answered(caller, video_id, parent_id)
        mentioned = await self._mentioned(text)
        async with self._store.begin(caller) as tx:
            if await tx.is_gone(video_id):
                raise not_found("video_id", "video")
            if answered is not None:
                await _must_stand(tx, answered.id)
            # A reply to a reply stands under the same top-level comment.
            top_id = (answered.parent_id or answered.id) if answered else 0
            comment = StoredComment(
                *(tx.new_id(), video_id, viewer, video.author_id, top_id, text),
                version=1,
                created_at_ms=now_ms(self._clock),
            )
            await tx.add_comment(comment)
            added = events.EngagementCommentAdded(
                comment_id=comment.id,
                video_id=video_id,
                video_author_id=video.author_id,
                author_id=viewer,
                parent_id=top_id,
                parent_author_id=answered.author_id if answered else 0,
                text=text,
                mentioned_ids=mentioned,
            )
            tx.emit(entity=f"comment:{comment.id}", version=1, actor_id=viewer, engagement_comment_added=added)
            return await tx.reply(
                CommentView(
                    *(comment.id, video_id, viewer, top_id, text, comment.created_at_ms),
                    like_count=0,
                    reply_count=0,
                    viewer_has_liked=False,
                )
            )

    async def _answered(self, caller: Caller, video_id: int, parent_id: int) -> StoredComment | None:
        if not parent_id:
            return None
        parent = (await self._store.comments([parent_id])).get(parent_id)
        if parent is None or parent.video_id != video_id or not await self._sight.unblocked(caller, [parent]):
            raise not_found("parent_id", "comment")
        return parent

    async def _mentioned(self, text: str) -> Sequence[int]:
        names = mentions_of(text)[:MAX_MENTIONS]
        return await self._names.ids(names) if names else []

    @idempotent
    async def delete_comment(self, caller: Caller, comment_id: int) -> DeletedComment:
        """Delete a comment of the caller's own or under the caller's own video; FORBIDDEN for any other that they see.
        A deleted one stays deleted."""
        viewer = caller.viewer()
        comment = (await self._store.comments([comment_id])).get(comment_id)
        if comment is None:
            raise not_found("comment_id", "comment")
        # One's own can be deleted whatever has become of the video: nothing is told by it.
        if viewer not in (comment.author_id, comment.video_author_id):
            await self._sight.comment(caller, comment_id)
            raise forbidden("comment_id", "Only its writer and the video's author may delete a comment.")
        async with self._store.begin(caller) as tx:
            await _erase(tx, await tx.comment(comment_id), viewer)
            return await tx.reply(DeletedComment(comment_id))

    async def remove_comment(self, caller: Caller, comment_id: int) -> None:
        """Delete a comment for a moderator, whoever wrote it; NOT_FOUND on `subject_id` for an unknown one."""
        async with self._store.begin(caller) as tx:
            comment = await tx.comment(comment_id)
            if comment is None:
                raise not_found("subject_id", "comment")
            await _erase(tx, comment, caller.user_id)

    async def end_video(self, caller: Caller, video_id: int, author_id: int) -> None:
        """A video is gone for good: so are its comments, and no new ones are taken."""
        more = True
        while more:
            async with self._store.begin(caller) as tx:
                await tx.mark_gone(video_id)
                comments = await tx.standing_comments(video_id, ERASED_A_TRANSACTION)
                for comment in comments:
                    await _erase(tx, comment, author_id)
                more = len(comments) == ERASED_A_TRANSACTION


async def _must_stand(tx: EngagementTx, comment_id: int) -> None:
    comment = await tx.comment(comment_id)
    if comment is None or comment.text is None:
        raise not_found("parent_id", "comment")


async def _erase(tx: EngagementTx, comment: StoredComment | None, actor_id: int) -> None:
    if comment is None or comment.text is None:
        return
    version = comment.version + 1
    await tx.erase_comment(comment, version)
    deleted = events.EngagementCommentDeleted(
        comment_id=comment.id, video_id=comment.video_id, parent_id=comment.parent_id
    )
    tx.emit(entity=f"comment:{comment.id}", version=version, actor_id=actor_id, engagement_comment_deleted=deleted)


def _checked(text: str) -> str:
    """The text as it is stored: trimmed, with plain line breaks."""
    text = text.replace("\r\n", "\n").replace("\t", " ").strip()
    if not visible(text):
        raise invalid("text", f"text must have 1 to {MAX_TEXT_CHARS} characters; it is empty.", UserCode.REQUIRED)
    if len(text) > MAX_TEXT_CHARS:
        raise invalid(
            "text", f"text must have at most {MAX_TEXT_CHARS} characters; it has {len(text)}.", UserCode.TOO_LONG
        )
    if not printable(text, lines=True):
        raise invalid("text", "text must not hold control characters.")
    return text
