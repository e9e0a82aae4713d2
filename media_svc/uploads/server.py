"""The servicer of uploads: protobuf to domain and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from media_svc.uploads.commands import UploadCommands, UploadRef
from media_svc.uploads.queries import PartView, UploadQueries, UploadView
from reelgraph.media.v1 import uploads_pb2 as pb
from reelgraph.media.v1.uploads_pb2_grpc import UploadServiceServicer
from svc_kit.caller import current_caller
from svc_kit.clock import from_ms

_Context = grpc.aio.ServicerContext[Any, Any]


class UploadServicer(UploadServiceServicer):
    """`reelgraph.media.v1.UploadService`."""

    def __init__(self, commands: UploadCommands, queries: UploadQueries) -> None:
        self._commands = commands
        self._queries = queries

    async def BeginUpload(self, request: pb.BeginUploadRequest, context: _Context) -> pb.BeginUploadResponse:
        ref = await self._commands.begin_upload(
            current_caller(),
            file_name=request.file_name,
            content_type=request.content_type,
            size_bytes=request.size_bytes,
            sha256=request.sha256,
            part_sha256=tuple(request.part_sha256),
        )
        return pb.BeginUploadResponse(upload=await self._upload(ref))

    async def CompleteUpload(self, request: pb.CompleteUploadRequest, context: _Context) -> pb.CompleteUploadResponse:
        ref = await self._commands.complete_upload(current_caller(), request.upload_id)
        return pb.CompleteUploadResponse(upload=await self._upload(ref))

    async def AbortUpload(self, request: pb.AbortUploadRequest, context: _Context) -> pb.AbortUploadResponse:
        ref = await self._commands.abort_upload(current_caller(), request.upload_id)
        return pb.AbortUploadResponse(upload=await self._upload(ref))

    async def BatchGetUploads(
        self, request: pb.BatchGetUploadsRequest, context: _Context
    ) -> pb.BatchGetUploadsResponse:
        found = await self._queries.uploads(current_caller(), request.ids)
        return pb.BatchGetUploadsResponse(uploads=map(_upload, found))

    async def StreamUpload(
        self, request: pb.StreamUploadRequest, context: _Context
    ) -> AsyncIterator[pb.StreamUploadResponse]:
        async for view in self._queries.stream(current_caller(), request.upload_id):
            yield pb.StreamUploadResponse(upload=_upload(view))

    async def ClaimAvatar(self, request: pb.ClaimAvatarRequest, context: _Context) -> pb.ClaimAvatarResponse:
        return pb.ClaimAvatarResponse(avatar_url=await self._commands.claim_avatar(current_caller(), request.upload_id))

    async def _upload(self, ref: UploadRef) -> pb.Upload:
        return _upload(await self._queries.upload(current_caller(), ref.upload_id))


def _upload(view: UploadView) -> pb.Upload:
    row = view.row
    upload = pb.Upload(
        id=row.id,
        state=f"UPLOAD_STATE_{row.state.value}",
        size_bytes=row.size_bytes,
        part_size_bytes=row.part_size_bytes,
        parts=map(_part, view.parts),
        progress_percent=view.progress_percent,
        failure_code=row.failure_code,
        failure_reason=row.failure_reason,
        video_id=row.video_id,
        content_type=row.content_type,
        file_name=row.file_name,
    )
    upload.expires_at.FromDatetime(from_ms(row.expires_at_ms))
    return upload


def _part(part: PartView) -> pb.UploadPart:
    signed = part.signed
    return pb.UploadPart(
        number=part.number,
        url=signed.url if signed else "",
        headers=[pb.UploadHeader(name=name, value=value) for name, value in signed.headers] if signed else [],
        size_bytes=part.size_bytes,
        received=part.received,
    )
