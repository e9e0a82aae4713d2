"""Files that arrive whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path

from media_svc.blobs.store import NoSuchParts, WrongDigest, WrongLength

_COPY_BYTES = 1 << 20


class PartFile:
    """One part on its way. Blocking: each method belongs on a thread, `discard` is quick enough for anywhere."""

    def __init__(self, folder: Path, number: int, size_bytes: int, sha256: str) -> None:
        self._final = folder / f"{number:05d}"
        self._temporary = folder / f".{number:05d}-{secrets.token_hex(8)}"
        self._size_bytes = size_bytes
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._received = 0
        self._descriptor: int | None = None
        # A cancelled caller discards while its thread still writes; a closed descriptor's number is given out again.
        self._lock = threading.Lock()
        try:
            self._descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileNotFoundError:
            raise NoSuchParts(folder.name) from None

    def write(self, block: bytes) -> None:
        """Take the next bytes; raises `WrongLength` as soon as there are too many."""
        with self._lock:
            if self._descriptor is None:
                return
            self._received += len(block)
            if self._received > self._size_bytes:
                raise WrongLength(self._received, self._size_bytes)
            self._digest.update(block)
            _write(self._descriptor, block)

    def commit(self) -> str:
        """Check length and digest, bring it to disk, and put it in place; returns the digest (hex)."""
        with self._lock:
            if self._received != self._size_bytes:
                raise WrongLength(self._received, self._size_bytes)
            digest = self._digest.hexdigest()
            if self._sha256 and digest != self._sha256:
                raise WrongDigest(digest)
            if self._descriptor is None:
                raise NoSuchParts(self._final.parent.name)
            os.fsync(self._descriptor)
            try:
                self._temporary.replace(self._final)
                sync_folder(self._final.parent)
            except FileNotFoundError:
                raise NoSuchParts(self._final.parent.name) from None
        return digest

    def discard(self) -> None:
        """Close, and remove what was not committed. Idempotent."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
                with suppress(FileNotFoundError):
                    self._temporary.unlink()


def copy_into(descriptor: int, source: Path) -> None:
    """Append a file's bytes, inside the kernel where it can."""
    with source.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        in_kernel = hasattr(os, "copy_file_range")
        while left > 0:
            try:
                copied = os.copy_file_range(file.fileno(), descriptor, left) if in_kernel else 0
            except OSError:
                copied = 0
            if not copied:
                in_kernel = False
                block = file.read(min(_COPY_BYTES, left))
                if not block:
                    raise OSError(f"{source.name} became shorter while it was read")
                copied = _write(descriptor, block)
            left -= copied


def _write(descriptor: int, block: bytes) -> int:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(block)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to disk: without it a rename may be lost in a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_parents(path: Path, root: Path) -> None:
    """Make the folders between `root` and `path`, durably."""
    missing = []
    folder = path.parent
    while folder != root and not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
        sync_folder(made.parent)
