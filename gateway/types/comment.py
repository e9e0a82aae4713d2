"""Comments and replies."""

from __future__ import annotations

from datetime import datetime

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.ready import pick, same
from gateway.types.fields import resolved
from gateway.types.node import Node
from gateway.types.page import After, Connection, First, page, page_size
from gateway.types.refs import CommentRef, UserRef, VideoRef
from gateway.types.scalars import count, moment
from reelgraph.graph.v1 import engagement_pb2


@strawberry.type(description="A comment, or a reply to one.")
class Comment(Node):
    """A comment that the viewer may see: EngagementService answered it."""

    number: strawberry.Private[int]
    video_number: strawberry.Private[int]
    author_number: strawberry.Private[int]
    parent_number: strawberry.Private[int]
    liked: strawberry.Private[bool]
    text: str | None = strawberry.field(description="Its text; null once deleted.")
    created_at: datetime = strawberry.field(description="When it was written.")
    like_count: int | None = strawberry.field(description="How many like it.")
    reply_count: int | None = strawberry.field(description="How many replies stand.")

    @classmethod
    def of(cls, comment: engagement_pb2.Comment) -> Comment:
        """From its message."""
        return cls(
            id=ids.encode(ids.Kind.COMMENT, comment.id),
            number=comment.id,
            video_number=comment.video_id,
            author_number=comment.author_id,
            parent_number=comment.parent_id,
            liked=comment.viewer_has_liked,
            text=comment.text if comment.HasField("text") else None,
            created_at=moment(comment.created_at),
            like_count=count(comment.like_count),
            reply_count=count(comment.reply_count),
        )

    @resolved("Who wrote it.")
    def author(self, info: Info) -> UserRef | None:
        return pick(info.context.loaders.users, self.author_number, same)

    @resolved("The video it is under.")
    def video(self, info: Info) -> VideoRef | None:
        return pick(info.context.loaders.videos, self.video_number, same)

    @resolved("The top-level comment it answers; null for a top-level comment.")
    def parent(self, info: Info) -> CommentRef | None:
        return pick(info.context.loaders.comments, self.parent_number, same) if self.parent_number else None

    @resolved("Whether the viewer likes it; null when nobody is logged in.")
    def viewer_has_liked(self, info: Info) -> bool | None:
        return self.liked if info.context.caller.user_id else None

    @resolved("The replies to it, oldest first.")
    async def replies(
        self, info: Info, first: First = 10, after: After = strawberry.UNSET
    ) -> Connection[CommentRef] | None:
        size = page_size(first)
        if self.parent_number:
            return page([], has_next=False, after=after)
        return await comments_page(info, self.video_number, self.number, size, after)


async def comments_page(
    info: Info, video_number: int, parent_number: int, size: int, after: str | None
) -> Connection[Comment]:
    """Top-level comments of a video (`parent_number` 0) or the replies to one."""
    context = info.context
    request = engagement_pb2.ListCommentsRequest(
        video_id=video_number, parent_id=parent_number, page_size=size, page_token=after or ""
    )
    answer: engagement_pb2.ListCommentsResponse = await context.rpc(context.clients.engagement.ListComments, request)
    found = [(Comment.of(entry.comment), entry.page_token) for entry in answer.entries]
    await context.loaders.warm_users([comment.author_number for comment, _ in found], "Comment.author")
    return page(found, has_next=bool(answer.next_page_token), after=after)
