"""Uploads."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.ready import pick, same
from gateway.types.fields import resolved
from gateway.types.node import Node
from gateway.types.refs import VideoRef
from gateway.types.scalars import SafeInt, moment
from reelgraph.media.v1 import uploads_pb2


@strawberry.enum(description="Where an upload stands. More may come.")
class UploadState(Enum):
    """`reelgraph.media.v1.UploadState`."""

    RECEIVING = strawberry.enum_value("RECEIVING", description="Parts are expected.")
    VERIFYING = strawberry.enum_value("VERIFYING", description="The whole digest is being checked.")
    TRANSCODING = strawberry.enum_value("TRANSCODING", description="Waiting for or in transcoding.")
    READY = strawberry.enum_value("READY", description="Everything is there. Final.")
    FAILED = strawberry.enum_value(
        "FAILED", description="`failureCode` and `failureReason` say why. Final: begin again."
    )
    ABORTED = strawberry.enum_value("ABORTED", description="Given up by its owner, or expired. Final.")


@strawberry.type(description="A header to send with a part.")
class UploadHeader:
    """Never Content-Length or Host: the client sends its own."""

    name: str = strawberry.field(description="Its name.")
    value: str = strawberry.field(description="Its value.")


@strawberry.type(description="One part of an upload.")
class UploadPart:
    """The URL signs the part's length and, when given, its digest."""

    number: int = strawberry.field(description="From 1.")
    url: str | None = strawberry.field(
        description="Absolute URL to PUT to; null unless RECEIVING. A part may be sent again."
    )
    headers: list[UploadHeader] = strawberry.field(description="Headers to send along.")
    size_bytes: SafeInt = strawberry.field(description="Its exact length in bytes.")
    received: bool = strawberry.field(description="Whether it is there.")

    @classmethod
    def of(cls, part: uploads_pb2.UploadPart) -> UploadPart:
        """From its message."""
        return cls(
            number=part.number,
            url=part.url or None,
            headers=[UploadHeader(name=h.name, value=h.value) for h in part.headers],
            size_bytes=SafeInt(part.size_bytes),
            received=part.received,
        )


@strawberry.type(description="An upload of the viewer's own: parts by signed URLs, then a video or an avatar.")
class Upload(Node):
    """Answered to its owner alone."""

    number: strawberry.Private[int]
    video_number: strawberry.Private[int]
    state: UploadState = strawberry.field(description="Where it stands.")
    file_name: str = strawberry.field(description="Declared name.")
    content_type: str = strawberry.field(description="Declared type.")
    size_bytes: SafeInt = strawberry.field(description="Length of the whole in bytes.")
    part_size_bytes: SafeInt = strawberry.field(
        description="Length of each part but the last: 5 MiB, larger beyond 1,000 parts."
    )
    parts: list[UploadPart] = strawberry.field(description="All parts by number.")
    progress_percent: int = strawberry.field(description="Of the present state, 0 to 100; 100 only when READY.")
    failure_code: str | None = strawberry.field(
        description="For a program, such as `TOO_LONG`, `NOT_A_VIDEO`, `DIGEST_MISMATCH`; null unless FAILED."
    )
    failure_reason: str | None = strawberry.field(description="For a person; null unless FAILED.")
    expires_at: datetime | None = strawberry.field(
        description="When an unfinished upload is given up, and its URLs end."
    )

    @classmethod
    def of(cls, upload: uploads_pb2.Upload) -> Upload:
        """From its message."""
        return cls(
            id=ids.encode(ids.Kind.UPLOAD, upload.id),
            number=upload.id,
            video_number=upload.video_id,
            state=UploadState[uploads_pb2.UploadState.Name(upload.state).removeprefix("UPLOAD_STATE_")],
            file_name=upload.file_name,
            content_type=upload.content_type,
            size_bytes=SafeInt(upload.size_bytes),
            part_size_bytes=SafeInt(upload.part_size_bytes),
            parts=[UploadPart.of(part) for part in upload.parts],
            progress_percent=min(max(upload.progress_percent, 0), 100),
            failure_code=upload.failure_code or None,
            failure_reason=upload.failure_reason or None,
            expires_at=moment(upload.expires_at) if upload.HasField("expires_at") else None,
        )

    @resolved("The video published from it; null until then.")
    def video(self, info: Info) -> VideoRef | None:
        return pick(info.context.loaders.videos, self.video_number, same) if self.video_number else None
