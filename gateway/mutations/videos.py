"""Publishing, changing and deleting videos."""

from __future__ import annotations

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.mutations.answers import KeyedInput, Payload, answers, given, number_in
from gateway.types.fields import mutation
from gateway.types.video import Video, Visibility
from reelgraph.media.v1 import videos_pb2


@strawberry.input(description="Input of publishVideo.")
class PublishVideoInput(KeyedInput):
    """A video to be."""

    upload_id: strawberry.ID = strawberry.field(description="An upload of a video, of the viewer's own.")
    caption: str = strawberry.field(
        description="At most 2,200 characters; `#words` become hashtags, at most 30. May be empty."
    )
    visibility: Visibility | None = strawberry.field(default=Visibility.PUBLIC, description="Who may see it.")
    allow_comments: bool | None = strawberry.field(default=True, description="Whether comments may be written.")


@strawberry.input(description="Input of updateVideo. What is absent or null stays.")
class UpdateVideoInput(KeyedInput):
    """Changes."""

    video_id: strawberry.ID = strawberry.field(description="A video of the viewer's own.")
    caption: str | None = strawberry.field(
        default=strawberry.UNSET, description="At most 2,200 characters; empty to clear."
    )
    visibility: Visibility | None = strawberry.field(default=strawberry.UNSET, description="Who may see it.")
    allow_comments: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether comments may be written."
    )


@strawberry.input(description="Input of deleteVideo.")
class DeleteVideoInput(KeyedInput):
    """For good."""

    video_id: strawberry.ID = strawberry.field(description="A video of the viewer's own.")


@strawberry.type(description="Answer of publishVideo.")
class PublishVideoPayload(Payload):
    """The video; before its upload is READY, PROCESSING."""

    video: Video | None = strawberry.field(default=None, description="The video.")


@strawberry.type(description="Answer of updateVideo.")
class UpdateVideoPayload(Payload):
    """The video after the change."""

    video: Video | None = strawberry.field(default=None, description="The video after the change.")


@strawberry.type(description="Answer of deleteVideo.")
class DeleteVideoPayload(Payload):
    """Gone everywhere."""

    deleted_video_id: strawberry.ID | None = strawberry.field(default=None, description="The deleted video.")


@strawberry.type
class VideoMutations:
    """The author's own videos."""

    @mutation(
        "Publishes an upload, before or after it is READY. Publishing it again answers the same video, unchanged."
    )
    @answers(PublishVideoPayload)
    async def publish_video(self, info: Info, input: PublishVideoInput) -> PublishVideoPayload:
        context = info.context
        request = videos_pb2.PublishVideoRequest(
            upload_id=number_in(ids.Kind.UPLOAD, input.upload_id, "upload_id"),
            caption=input.caption,
            visibility=_visibility(input.visibility),
            language=context.client.language if context.client else "",
            idempotency_key=input.key(),
        )
        _allow_comments(request, input.allow_comments)
        answer: videos_pb2.PublishVideoResponse = await context.rpc(context.clients.videos.PublishVideo, request)
        return PublishVideoPayload(video=Video.of(answer.video))

    @mutation("Changes a video of the viewer's own.")
    @answers(UpdateVideoPayload)
    async def update_video(self, info: Info, input: UpdateVideoInput) -> UpdateVideoPayload:
        context = info.context
        request = videos_pb2.UpdateVideoRequest(
            video_id=number_in(ids.Kind.VIDEO, input.video_id, "video_id"),
            caption=given(input.caption),
            visibility=_visibility(given(input.visibility)),
            idempotency_key=input.key(),
        )
        _allow_comments(request, input.allow_comments)
        answer: videos_pb2.UpdateVideoResponse = await context.rpc(context.clients.videos.UpdateVideo, request)
        return UpdateVideoPayload(video=Video.of(answer.video))

    @mutation("Deletes a video of the viewer's own, everywhere and for good.")
    @answers(DeleteVideoPayload)
    async def delete_video(self, info: Info, input: DeleteVideoInput) -> DeleteVideoPayload:
        context = info.context
        request = videos_pb2.DeleteVideoRequest(
            video_id=number_in(ids.Kind.VIDEO, input.video_id, "video_id"), idempotency_key=input.key()
        )
        answer: videos_pb2.DeleteVideoResponse = await context.rpc(context.clients.videos.DeleteVideo, request)
        return DeleteVideoPayload(deleted_video_id=ids.encode(ids.Kind.VIDEO, answer.deleted_video_id))


def _visibility(visibility: Visibility | None) -> str:
    return f"VISIBILITY_{visibility.name if visibility else 'UNSPECIFIED'}"


def _allow_comments(
    request: videos_pb2.PublishVideoRequest | videos_pb2.UpdateVideoRequest, allowed: bool | None
) -> None:
    # Presence is the meaning: what is not set stays, or is true when publishing.
    if given(allowed) is not None:
        request.allow_comments = bool(allowed)
