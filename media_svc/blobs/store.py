"""The port of the blob store, shaped after S3. Every adapter passes `tests/contract/test_blob_store.py`."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


def is_key(text: str) -> bool:
    """Whether a blob may have this key: `[A-Za-z0-9._-]` in segments between slashes, no dot in front."""
    return _KEY.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class BlobStat:
    """What is known of a blob without reading it. `etag` (no quotes) changes whenever the bytes do."""

    key: str
    size_bytes: int
    etag: str
    modified_at_ms: int


@dataclass(frozen=True, slots=True)
class PartStat:
    """One complete part."""

    number: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SignedPart:
    """Where and how a client puts one part."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()


class NoSuchBlob(Exception):
    """There is no blob of this key."""


class NoSuchParts(Exception):
    """The parts were joined, dropped or never begun."""


class WrongLength(Exception):
    """A part had another number of bytes than announced; nothing of it was kept."""

    def __init__(self, received: int, expected: int) -> None:
        super().__init__(f"{received} bytes came, {expected} were announced")
        self.received = received
        self.expected = expected


class WrongDigest(Exception):
    """A part's bytes have another SHA-256 than announced; nothing of it was kept."""


class BlobStore(Protocol):
    """Immutable blobs by key (see `is_key`), and parts that are joined to blobs.

    - Whatever a write acknowledged survives a crash of the machine; whatever it did not is not there, or whole.
    - Memory is bounded whatever the size.
    - Every call is bounded in time.
    - Failures of the store itself are `AppError` UNAVAILABLE.
    """

    @property
    def least_part_bytes(self) -> int:
        """What every part but the last must have at least, or it can't be joined."""
        ...

    async def begin_parts(self, key: str, *, with_digests: bool = False) -> str:
        """Open a place for the parts of `key`; returns its handle, at most 200 characters. `with_digests`: every part
        will be signed and put with its digest; else none."""
        ...

    async def sign_part(self, handle: str, number: int, size_bytes: int, sha256: str, expires_at_ms: int) -> SignedPart:
        """A URL to PUT part `number` (from 1) to. It signs its end, the length and, when given, the digest (hex).

        Answers are 2xx with an ETag, or 4xx and nothing is kept. Raises `NoSuchParts` when the handle is none."""
        ...

    async def put_part(
        self, handle: str, number: int, chunks: AsyncIterator[bytes], size_bytes: int, sha256: str = ""
    ) -> str:
        """Store one part as it streams in; returns its SHA-256 (hex). The same part again replaces it, whole.

        Raises `WrongLength`, `WrongDigest`, `NoSuchParts`; those, a failing `chunks` and cancellation leave nothing.
        """
        ...

    async def list_parts(self, handle: str) -> Sequence[PartStat]:
        """Complete parts by number; none for an unknown handle."""
        ...

    async def join_parts(self, handle: str, key: str, count: int) -> BlobStat:
        """Make parts 1 to `count` the blob `key` that they were begun for, and drop them all. Done before, also
        half-way: the same answer. Raises `NoSuchParts` when a part is missing."""
        ...

    async def drop_parts(self, handle: str) -> None:
        """Remove all parts; none there is fine. A part that is on its way just now may still arrive: dropping again
        removes it, and `abandoned_parts` tells of it."""
        ...

    async def abandoned_parts(self, begun_before_ms: int) -> Sequence[str]:
        """Handles that were begun before a moment and neither joined nor dropped."""
        ...

    async def put_file(self, key: str, path: Path) -> BlobStat:
        """Copy a local file to `key`, replacing what is there. When it changed is known to a few seconds."""
        ...

    async def put_bytes(self, key: str, data: bytes) -> BlobStat:
        """Store a small blob, replacing what is there. When it changed is known to a few seconds."""
        ...

    async def stat(self, key: str) -> BlobStat | None:
        """What is known of a blob; None when there is none, or the key is no valid one."""
        ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start`, `length` of them or all, in pieces of at most 1 MiB; close it when you stop before
        the end. Raises `NoSuchBlob`."""
        ...

    async def sign_read(self, key: str, media_type: str, lasting_s: int) -> str:
        """A URL that anybody can GET the blob from, whole or by range, straight from the store, for at least
        `lasting_s` and at most twice that; within it mostly the same one. Empty: the store has none. Whether there is
        such a blob is not looked up."""
        ...

    def as_file(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A local file with the blob's bytes, to be read only, while the context lasts. Raises `NoSuchBlob`."""
        ...

    async def delete(self, key: str) -> None:
        """Remove a blob; none there is fine."""
        ...

    async def delete_prefix(self, prefix: str) -> None:
        """Remove all blobs whose key begins with `prefix`, which ends with a slash."""
        ...

    async def list(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[BlobStat]:
        """Blobs whose key begins with `prefix` (which ends with a slash), by key, above `after`."""
        ...

    async def close(self) -> None:
        """Release everything. Idempotent."""
        ...
