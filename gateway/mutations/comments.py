"""Comments and their likes."""

from __future__ import annotations

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.mutations.answers import KeyedInput, Payload, answers, given, number_in
from gateway.types.comment import Comment
from gateway.types.fields import mutation
from reelgraph.graph.v1 import engagement_pb2


@strawberry.input(description="Input of addComment.")
class AddCommentInput(KeyedInput):
    """A comment, or a reply to one."""

    video_id: strawberry.ID = strawberry.field(description="The video.")
    text: str = strawberry.field(description="1 to 2,200 characters after trimming.")
    parent_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="The comment to answer. A reply to a reply is put under the same top-level comment.",
    )


@strawberry.input(description="A comment.")
class CommentInput(KeyedInput):
    """Never in the schema itself."""

    comment_id: strawberry.ID = strawberry.field(description="The comment.")


@strawberry.input(description="Input of likeComment.")
class LikeCommentInput(CommentInput):
    """What to like."""


@strawberry.input(description="Input of unlikeComment.")
class UnlikeCommentInput(CommentInput):
    """What to like no longer."""


@strawberry.input(description="Input of deleteComment.")
class DeleteCommentInput(CommentInput):
    """One's own, or any under one's own video."""


@strawberry.type(description="A comment.")
class CommentPayload(Payload):
    """Never in the schema itself."""

    comment: Comment | None = strawberry.field(default=None, description="The comment, with this change.")


@strawberry.type(description="Answer of addComment.")
class AddCommentPayload(CommentPayload):
    """The new comment."""


@strawberry.type(description="Answer of likeComment.")
class LikeCommentPayload(CommentPayload):
    """The comment, liked."""


@strawberry.type(description="Answer of unlikeComment.")
class UnlikeCommentPayload(CommentPayload):
    """The comment, no longer liked."""


@strawberry.type(description="Answer of deleteComment.")
class DeleteCommentPayload(Payload):
    """Its text is gone for good; its replies stay."""

    deleted_comment_id: strawberry.ID | None = strawberry.field(default=None, description="The deleted comment.")


@strawberry.type
class CommentMutations:
    """Visibility is the services' to decide: what the viewer may not see is NOT_FOUND."""

    @mutation("Writes a comment, or a reply to one.")
    @answers(AddCommentPayload)
    async def add_comment(self, info: Info, input: AddCommentInput) -> AddCommentPayload:
        parent = given(input.parent_id)
        request = engagement_pb2.AddCommentRequest(
            video_id=number_in(ids.Kind.VIDEO, input.video_id, "video_id"),
            text=input.text,
            parent_id=number_in(ids.Kind.COMMENT, parent, "parent_id") if parent is not None else 0,
            idempotency_key=input.key(),
        )
        answer: engagement_pb2.AddCommentResponse = await info.context.rpc(
            info.context.clients.engagement.AddComment, request
        )
        return AddCommentPayload(comment=Comment.of(answer.comment))

    @mutation("Likes a comment. Liking again changes nothing.")
    @answers(LikeCommentPayload)
    async def like_comment(self, info: Info, input: LikeCommentInput) -> LikeCommentPayload:
        request = engagement_pb2.LikeCommentRequest(comment_id=_number(input), idempotency_key=input.key())
        answer: engagement_pb2.LikeCommentResponse = await info.context.rpc(
            info.context.clients.engagement.LikeComment, request
        )
        return LikeCommentPayload(comment=Comment.of(answer.comment))

    @mutation("Takes a comment's like back. None there: nothing changes.")
    @answers(UnlikeCommentPayload)
    async def unlike_comment(self, info: Info, input: UnlikeCommentInput) -> UnlikeCommentPayload:
        request = engagement_pb2.UnlikeCommentRequest(comment_id=_number(input), idempotency_key=input.key())
        answer: engagement_pb2.UnlikeCommentResponse = await info.context.rpc(
            info.context.clients.engagement.UnlikeComment, request
        )
        return UnlikeCommentPayload(comment=Comment.of(answer.comment))

    @mutation("Deletes a comment of the viewer's own, or any under the viewer's own video.")
    @answers(DeleteCommentPayload)
    async def delete_comment(self, info: Info, input: DeleteCommentInput) -> DeleteCommentPayload:
        request = engagement_pb2.DeleteCommentRequest(comment_id=_number(input), idempotency_key=input.key())
        answer: engagement_pb2.DeleteCommentResponse = await info.context.rpc(
            info.context.clients.engagement.DeleteComment, request
        )
        return DeleteCommentPayload(deleted_comment_id=ids.encode(ids.Kind.COMMENT, answer.deleted_comment_id))


def _number(input: CommentInput) -> int:
    return number_in(ids.Kind.COMMENT, input.comment_id, "comment_id")
