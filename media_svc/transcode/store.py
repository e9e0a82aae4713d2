"""The ports of media sets: the bytes of one digest, and what was made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class SetState(StrEnum):
    """`PENDING`: to be transcoded, or waiting for somebody who wants it."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class SetRendition:
    """One encoding."""

    width: int
    height: int
    codec: str
    bitrate_kbps: int


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What a READY set holds; an image has width and height alone. Renditions are the largest first."""

    duration_ms: int
    width: int
    height: int
    has_audio: bool
    renditions: tuple[SetRendition, ...] = ()


@dataclass(frozen=True, slots=True)
class SetRow:
    """One media set. Its files lie at `sets/<id>/`, its source at `blob_key`."""

    id: int
    digest: str
    is_image: bool
    state: SetState
    blob_key: str
    size_bytes: int
    failure_code: str = ""
    failure_reason: str = ""

    @property
    def prefix(self) -> str:
        """Where its files lie, with a slash at the end."""
        return set_prefix(self.id)


def set_prefix(set_id: int) -> str:
    """Where the files of a set lie, with a slash at the end."""
    return f"sets/{set_id}/"


AVATAR_FILE = "avatar.jpg"


class SetTx(Protocol):
    """Media sets in a write transaction."""

    async def media_set(self, set_id: int) -> SetRow | None:
        """The row, locked."""
        ...

    async def set_of_digest(self, digest: str) -> SetRow | None:
        """The set of a digest, locked."""
        ...

    async def add_set(self, row: SetRow) -> None:
        """Insert a PENDING set that nobody uses yet. Raises for a digest that has one."""
        ...

    async def delete_set(self, set_id: int) -> None:
        """Delete the row of a set that nobody uses."""
        ...

    async def complete_set(self, set_id: int, facts: SetFacts) -> None:
        """Make a set READY."""
        ...

    async def fail_set(self, set_id: int, code: str, reason: str) -> None:
        """Make a set FAILED."""
        ...

    async def hold_set(self, set_id: int, upload_id: int) -> None:
        """Note that an upload uses a set. Again: nothing."""
        ...

    async def drop_set(self, set_id: int, upload_id: int) -> int:
        """Note that an upload uses it no more; returns how many still do. From 0 on, the set's days are counted."""
        ...

    async def ban_digest(self, digest: str, reason: str) -> None: ...

    async def is_banned(self, digest: str) -> bool: ...

    async def retire_set(self, set_id: int, unused_since_ms: int) -> SetRow | None:
        """Make a set that nobody has used since then FAILED, so that nobody will; None when somebody did."""
        ...


class SetStore(Protocol):
    """Reads and small writes of media sets."""

    async def media_set(self, set_id: int) -> SetRow | None: ...

    async def note_progress(self, set_id: int, percent: int) -> Sequence[int]:
        """Note how much of a PENDING set is done; returns the uploads that wait for it."""
        ...

    async def unused_sets(self, unused_since_ms: int, limit: int) -> Sequence[int]:
        """Sets that nobody has used since then."""
        ...

    async def known_blobs(self, keys: Sequence[str]) -> set[str]:
        """Those of `keys` that are the source of a set."""
        ...
