"""Uploads."""

from __future__ import annotations

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.mutations.answers import KeyedInput, Payload, answers, given, number_in
from gateway.types.fields import mutation
from gateway.types.scalars import SafeInt
from gateway.types.upload import Upload
from reelgraph.media.v1 import uploads_pb2


@strawberry.input(description="Input of beginUpload.")
class BeginUploadInput(KeyedInput):
    """What the bytes will be."""

    file_name: str = strawberry.field(description="For people only; at most 255 characters.")
    content_type: str = strawberry.field(
        description="video/mp4, video/quicktime, video/webm or video/x-matroska; for avatars image/jpeg, image/png or "
        "image/webp."
    )
    size_bytes: SafeInt = strawberry.field(description="Exact length in bytes: at most 2 GiB, for an avatar 5 MiB.")
    sha256: str = strawberry.field(description="SHA-256 of the whole, 64 hexadecimal digits.")
    part_sha256: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="SHA-256 of each part, in order; absent, or one for each part."
    )


@strawberry.input(description="An upload.")
class UploadInput(KeyedInput):
    """Never in the schema itself."""

    upload_id: strawberry.ID = strawberry.field(description="The upload.")


@strawberry.input(description="Input of completeUpload.")
class CompleteUploadInput(UploadInput):
    """Which to close."""


@strawberry.input(description="Input of abortUpload.")
class AbortUploadInput(UploadInput):
    """Which to give up."""


@strawberry.type(description="An upload.")
class UploadPayload(Payload):
    """Never in the schema itself."""

    upload: Upload | None = strawberry.field(default=None, description="The upload.")


@strawberry.type(description="Answer of beginUpload.")
class BeginUploadPayload(UploadPayload):
    """With URLs for the parts."""


@strawberry.type(description="Answer of completeUpload.")
class CompleteUploadPayload(UploadPayload):
    """Verifying from now on."""


@strawberry.type(description="Answer of abortUpload.")
class AbortUploadPayload(UploadPayload):
    """Given up."""


@strawberry.type
class UploadMutations:
    """Bytes go to the parts' URLs, never through GraphQL."""

    @mutation(
        "Begins an upload, or resumes the viewer's open one of the same digest, with fresh URLs for its parts. Bytes "
        "of the viewer's own that are already READY give an upload that is READY at once."
    )
    @answers(BeginUploadPayload)
    async def begin_upload(self, info: Info, input: BeginUploadInput) -> BeginUploadPayload:
        request = uploads_pb2.BeginUploadRequest(
            file_name=input.file_name,
            content_type=input.content_type,
            size_bytes=input.size_bytes,
            sha256=input.sha256,
            part_sha256=given(input.part_sha256) or (),
            idempotency_key=input.key(),
        )
        answer: uploads_pb2.BeginUploadResponse = await info.context.rpc(
            info.context.clients.uploads.BeginUpload, request
        )
        return BeginUploadPayload(upload=Upload.of(answer.upload))

    @mutation("Closes an upload whose parts are all there: the digest is checked, then transcoding starts.")
    @answers(CompleteUploadPayload)
    async def complete_upload(self, info: Info, input: CompleteUploadInput) -> CompleteUploadPayload:
        request = uploads_pb2.CompleteUploadRequest(
            upload_id=number_in(ids.Kind.UPLOAD, input.upload_id, "upload_id"), idempotency_key=input.key()
        )
        answer: uploads_pb2.CompleteUploadResponse = await info.context.rpc(
            info.context.clients.uploads.CompleteUpload, request
        )
        return CompleteUploadPayload(upload=Upload.of(answer.upload))

    @mutation("Gives an unfinished upload up and frees its parts.")
    @answers(AbortUploadPayload)
    async def abort_upload(self, info: Info, input: AbortUploadInput) -> AbortUploadPayload:
        request = uploads_pb2.AbortUploadRequest(
            upload_id=number_in(ids.Kind.UPLOAD, input.upload_id, "upload_id"), idempotency_key=input.key()
        )
        answer: uploads_pb2.AbortUploadResponse = await info.context.rpc(
            info.context.clients.uploads.AbortUpload, request
        )
        return AbortUploadPayload(upload=Upload.of(answer.upload))
