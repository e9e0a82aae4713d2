"""The ports of uploads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class UploadState(StrEnum):
    """Where an upload stands; as in the proto."""

    RECEIVING = "RECEIVING"
    VERIFYING = "VERIFYING"
    TRANSCODING = "TRANSCODING"
    READY = "READY"
    FAILED = "FAILED"
    ABORTED = "ABORTED"


OPEN_STATES = (UploadState.RECEIVING, UploadState.VERIFYING, UploadState.TRANSCODING)
FINAL_STATES = (UploadState.READY, UploadState.FAILED, UploadState.ABORTED)


@dataclass(frozen=True, slots=True)
class UploadRow:
    """One upload. `sha256` and `part_sha256` are lower-case hex; `set_id` and `video_id` are 0 until there is one."""

    id: int
    owner_id: int
    is_image: bool
    state: UploadState
    file_name: str
    content_type: str
    size_bytes: int
    part_size_bytes: int
    sha256: str
    part_sha256: tuple[str, ...]
    handle: str
    set_id: int
    video_id: int
    progress_percent: int
    failure_code: str
    failure_reason: str
    expires_at_ms: int

    @property
    def part_count(self) -> int:
        return -(-self.size_bytes // self.part_size_bytes)

    def part_bytes(self, number: int) -> int:
        """Exact length of part `number` (from 1)."""
        return min(self.part_size_bytes, self.size_bytes - (number - 1) * self.part_size_bytes)

    @property
    def blob_key(self) -> str:
        """Where its joined bytes go."""
        return f"originals/{self.id}"


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account's uploads take up."""

    open_count: int
    kept_bytes: int


class UploadTx(Protocol):
    """Uploads in a write transaction."""

    async def upload(self, upload_id: int) -> UploadRow | None:
        """The row, locked."""
        ...

    async def open_upload_of(self, owner_id: int, sha256: str, size_bytes: int, is_image: bool) -> UploadRow | None:
        """The owner's newest open upload of these bytes."""
        ...

    async def usage(self, owner_id: int) -> Usage:
        """What the owner's uploads take up: open ones, and the bytes of all that are open or kept."""
        ...

    async def add_upload(self, row: UploadRow) -> None: ...

    async def save_upload(self, row: UploadRow) -> None:
        """Replace the row of `row.id`."""
        ...

    async def uploads_of_set(self, set_id: int) -> Sequence[UploadRow]:
        """Uploads in TRANSCODING or READY that use a set."""
        ...

    async def claim_avatar(self, upload: UploadRow, key: str) -> str:
        """The lasting key of the upload's avatar; `key` when it has none yet."""
        ...

    async def drop_avatar(self, upload_id: int) -> None: ...


class UploadStore(Protocol):
    """Reads of uploads."""

    async def uploads(self, ids: Sequence[int]) -> Sequence[UploadRow]:
        """Rows by id, in no order; unknown ones are left out."""
        ...

    async def upload_of_handle(self, handle: str) -> UploadRow | None:
        """The upload whose parts a handle names."""
        ...

    async def set_progress(self, set_ids: Sequence[int]) -> dict[int, int]:
        """Percent done of sets being transcoded; unknown ones are left out."""
        ...

    async def ready_set_of(self, owner_id: int, sha256: str, size_bytes: int, is_image: bool) -> int:
        """The READY set of the owner's own READY upload of these bytes; 0: there is none, or the digest is banned."""
        ...

    async def expired(self, now_ms: int, limit: int) -> Sequence[int]:
        """RECEIVING uploads whose time is over."""
        ...

    async def uploads_of(self, owner_id: int, after_id: int, limit: int) -> Sequence[UploadRow]:
        """The owner's uploads of any state, by ascending id above `after_id`."""
        ...

    async def handles_in_use(self, handles: Sequence[str]) -> set[str]:
        """Those of `handles` whose upload still needs its parts."""
        ...

    async def set_progress_percent(self, upload_id: int, percent: int) -> None:
        """Note how much of an upload in VERIFYING is verified."""
        ...
