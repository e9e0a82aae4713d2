"""Blobs in a local folder (`file:///path`): renames are atomic, and nothing is acknowledged before it is on disk.

blobs/<key>              whole blobs
parts/<handle>/<number>  parts; a name with a dot in front is on its way
tmp/                     blobs on their way
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlparse

import anyio

from media_svc.blobs.blocks import blocks_of
from media_svc.blobs.open_context import BlobContext
from media_svc.blobs.part_tokens import PartGrant, PartTokens
from media_svc.blobs.store import BlobStat, BlobStore, NoSuchBlob, NoSuchParts, PartStat, SignedPart, is_key
from media_svc.blobs.stores.local_files import PartFile, copy_into, sync_folder, sync_parents
from svc_kit.errors import unavailable

BLOCK_BYTES = 512 * 1024
THREADS = 16
_HANDLE = re.compile(r"[0-9a-f]{32}")
_OLD_TMP_S = 24 * 3600

T = TypeVar("T")


async def open(url: str, context: BlobContext) -> BlobStore:
    """Open the folder of `file:///absolute/path`, made when missing."""
    store = LocalBlobStore(Path(unquote(urlparse(url).path)), context)
    await store.prepare()
    return store


class LocalBlobStore:
    """See `BlobStore`. Disk work runs on a bounded pool of threads."""

    def __init__(self, root: Path, context: BlobContext) -> None:
        self._blobs = root / "blobs"
        self._parts = root / "parts"
        self._tmp = root / "tmp"
        self._context = context
        self._tokens = PartTokens(context.secret)
        self._limiter = anyio.CapacityLimiter(THREADS)

    async def prepare(self) -> None:
        """Make the folders, and remove what an earlier process left half-way."""
        await self._on_thread(self._prepare)

    def _prepare(self) -> None:
        for folder in (self._blobs, self._parts, self._tmp):
            folder.mkdir(parents=True, exist_ok=True)
        for left in self._tmp.iterdir():
            if left.stat().st_mtime < time.time() - _OLD_TMP_S:
                left.unlink(missing_ok=True)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        with _disk_errors():
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    # Parts

    @property
    def least_part_bytes(self) -> int:
        return 1

    async def begin_parts(self, key: str, *, with_digests: bool = False) -> str:
        self._blob(key)
        handle = secrets.token_hex(16)
        await self._on_thread(lambda: self._begin(handle))
        return handle

    def _begin(self, handle: str) -> None:
        (self._parts / handle).mkdir()
        sync_folder(self._parts)

    async def sign_part(self, handle: str, number: int, size_bytes: int, sha256: str, expires_at_ms: int) -> SignedPart:
        if not _HANDLE.fullmatch(handle):
            raise NoSuchParts(handle)
        token = self._tokens.seal(PartGrant(handle, number, size_bytes, sha256, expires_at_ms))
        return SignedPart(f"{self._context.public_url()}/u/{token}/{number}")

    async def put_part(
        self, handle: str, number: int, chunks: AsyncIterator[bytes], size_bytes: int, sha256: str = ""
    ) -> str:
        folder = self._folder(handle)
        if folder is None:
            raise NoSuchParts(handle)
        part = await self._on_thread(lambda: PartFile(folder, number, size_bytes, sha256))
        try:
            async for block in blocks_of(chunks, BLOCK_BYTES):
                await self._on_thread(lambda block=block: part.write(block))  # type: ignore[misc]
            return await self._on_thread(part.commit)
        finally:
            part.discard()

    async def list_parts(self, handle: str) -> Sequence[PartStat]:
        folder = self._folder(handle)
        return [] if folder is None else await self._on_thread(lambda: _complete_parts(folder))

    async def join_parts(self, handle: str, key: str, count: int) -> BlobStat:
        target, folder = self._blob(key), self._folder(handle)
        return await self._on_thread(lambda: self._join(folder, target, key, count))

    def _join(self, folder: Path | None, target: Path, key: str, count: int) -> BlobStat:
        if not target.exists():
            present = {part.number for part in _complete_parts(folder)} if folder else set()
            if folder is None or not present.issuperset(range(1, count + 1)):
                raise NoSuchParts(key)
            with self._arriving(target) as joined:
                for number in range(1, count + 1):
                    copy_into(joined, folder / f"{number:05d}")
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        return _stat(key, target)

    async def drop_parts(self, handle: str) -> None:
        folder = self._folder(handle)
        if folder is not None:
            await self._on_thread(lambda: shutil.rmtree(folder, ignore_errors=True))

    async def abandoned_parts(self, begun_before_ms: int) -> Sequence[str]:
        def find() -> list[str]:
            found = []
            for folder in self._parts.iterdir():
                with suppress(FileNotFoundError):
                    if folder.stat().st_mtime * 1000 < begun_before_ms:
                        found.append(folder.name)
            return found

        return await self._on_thread(find)

    def _folder(self, handle: str) -> Path | None:
        return self._parts / handle if _HANDLE.fullmatch(handle) else None

    # Blobs

    async def put_file(self, key: str, path: Path) -> BlobStat:
        target = self._blob(key)

        def put() -> BlobStat:
            with self._arriving(target) as copied:
                copy_into(copied, path)
            return _stat(key, target)

        return await self._on_thread(put)

    async def put_bytes(self, key: str, data: bytes) -> BlobStat:
        target = self._blob(key)

        def put() -> BlobStat:
            with self._arriving(target) as written:
                _write_all(written, data)
            return _stat(key, target)

        return await self._on_thread(put)

    @contextmanager
    def _arriving(self, target: Path) -> Iterator[int]:
        """A descriptor to write to; the file takes `target`'s place when the block ends well."""
        temporary = self._tmp / secrets.token_hex(16)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            try:
                yield descriptor
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_parents(target, self._blobs)
            temporary.replace(target)
            sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)

    async def stat(self, key: str) -> BlobStat | None:
        if not is_key(key):
            return None
        path = self._blobs / key

        def look() -> BlobStat | None:
            return _stat(key, path) if path.is_file() else None

        return await self._on_thread(look)

    async def read(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        path = self._blob(key)
        descriptor = await self._on_thread(lambda: _open_to_read(key, path))
        try:
            at, left = start, length
            while left is None or left > 0:
                size = BLOCK_BYTES if left is None else min(BLOCK_BYTES, left)
                block = await self._on_thread(lambda size=size, at=at: os.pread(descriptor, size, at))  # type: ignore[misc]
                if not block:
                    return
                at += len(block)
                left = None if left is None else left - len(block)
                yield block
        finally:
            os.close(descriptor)

    async def sign_read(self, key: str, media_type: str, lasting_s: int) -> str:
        return ""

    @asynccontextmanager
    async def as_file(self, key: str) -> AsyncIterator[Path]:
        if await self.stat(key) is None:
            raise NoSuchBlob(key)
        yield self._blobs / key

    async def delete(self, key: str) -> None:
        path = self._blob(key)
        await self._on_thread(lambda: path.unlink(missing_ok=True))

    async def delete_prefix(self, prefix: str) -> None:
        folder = self._blob(prefix.rstrip("/"))
        await self._on_thread(lambda: shutil.rmtree(folder, ignore_errors=True))

    async def list(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[BlobStat]:
        folder = self._blob(prefix.rstrip("/"))

        def find() -> list[BlobStat]:
            keys = sorted(path.relative_to(self._blobs).as_posix() for path in folder.rglob("*") if path.is_file())
            return [_stat(key, self._blobs / key) for key in keys if key > after][:limit]

        return await self._on_thread(find)

    def _blob(self, key: str) -> Path:
        if not is_key(key):
            raise ValueError(f"{key!r} is no key of a blob")
        return self._blobs / key

    async def close(self) -> None:
        return None


@contextmanager
def _disk_errors() -> Iterator[None]:
    """A full or failing disk is UNAVAILABLE; its text stays in the logs."""
    try:
        yield
    except OSError as error:
        raise unavailable("The blob store can't be reached or is full.") from error


def _complete_parts(folder: Path) -> list[PartStat]:
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.isdecimal()]
    except FileNotFoundError:
        return []
    return sorted((PartStat(int(e.name), e.stat().st_size) for e in entries), key=lambda part: part.number)


def _stat(key: str, path: Path) -> BlobStat:
    found = path.stat()
    return BlobStat(key, found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}", found.st_mtime_ns // 1_000_000)


def _open_to_read(key: str, path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NoSuchBlob(key) from None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
