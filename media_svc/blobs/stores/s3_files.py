"""Between blobs and local files: what a client sends gathered, what a program needs as a file copied."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

from media_svc.blobs.blocks import blocks_of
from media_svc.blobs.store import WrongDigest, WrongLength
from svc_kit.errors import unavailable

SPARE_BYTES = 512 << 20
"""What a copy leaves free on the disk."""
_WRITE_BYTES = 4 << 20
_IN_MEMORY_BYTES = 1 << 20


class Scratch:
    """A folder of copies, each locked while it is in use: what nobody locks was left by a process that was killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder, and remove what was left in it. Blocking."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()

    @asynccontextmanager
    async def copy(self, size_bytes: int, pieces: AsyncIterator[bytes]) -> AsyncIterator[Path]:
        """A file of these bytes while the context lasts. Raises UNAVAILABLE when the disk has no room for it, or when
        they are not `size_bytes`."""
        try:
            file = await asyncio.to_thread(self._new, size_bytes)
        except OSError as error:
            raise unavailable("There is no room for a copy.", retry_after_ms=10_000) from error
        try:
            await _fill(file, pieces, size_bytes)
            yield Path(file.name)
        finally:
            # Not awaited: a second cancellation must not leave it behind.
            with suppress(FileNotFoundError):
                os.unlink(file.name)
            file.close()

    def _new(self, size_bytes: int) -> IO[bytes]:
        if shutil.disk_usage(self._folder).free < size_bytes + SPARE_BYTES:
            raise OSError(f"less than {size_bytes + SPARE_BYTES} bytes are free in {self._folder}")
        while True:
            file = tempfile.NamedTemporaryFile(dir=self._folder, delete=False)  # noqa: SIM115
            fcntl.flock(file, fcntl.LOCK_EX)
            # A process that started just now may have taken it for a left one.
            if os.path.exists(file.name):
                return file
            file.close()


async def _fill(file: IO[bytes], pieces: AsyncIterator[bytes], size_bytes: int) -> None:
    done = 0
    async for block in blocks_of(pieces, _WRITE_BYTES):
        done += len(block)
        await _write(file, block)
    if done != size_bytes:
        raise unavailable("The object store broke off.")


async def _write(file: IO[bytes], data: bytes) -> None:
    def write() -> None:
        file.write(data)
        file.flush()

    try:
        await asyncio.to_thread(write)
    except OSError as error:
        raise unavailable("There is no room for a copy.", retry_after_ms=10_000) from error


@asynccontextmanager
async def gathered(chunks: AsyncIterator[bytes], size_bytes: int, sha256: str) -> AsyncIterator[tuple[IO[bytes], str]]:
    """A file of what came, and its digest (hex), once length and digest are right: the store is told both before the
    first byte. Raises `WrongLength`, `WrongDigest`."""
    digest, received = hashlib.sha256(), 0
    with tempfile.TemporaryFile() as file:
        async for block in blocks_of(chunks, _IN_MEMORY_BYTES):
            received += len(block)
            if received > size_bytes:
                raise WrongLength(received, size_bytes)
            digest.update(block)
            await _write(file, block)
        if received != size_bytes:
            raise WrongLength(received, size_bytes)
        if sha256 and digest.hexdigest() != sha256:
            raise WrongDigest(digest.hexdigest())
        file.seek(0)
        yield file, digest.hexdigest()


def read_slice(path: Path, start: int, length: int) -> bytes:
    """Bytes of a file. Blocking."""
    with path.open("rb") as file:
        return os.pread(file.fileno(), length, start)
