"""The archive's files in a folder: `file:///folder`, made at the first write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from feed_svc.analytics.stores.parts import PartedArchive, Threads


async def open(url: str) -> ParquetArchive:
    """The archive in the folder of `url`."""
    parts = urlsplit(url)
    return ParquetArchive(Path(unquote(parts.netloc + parts.path)))


class ParquetArchive(PartedArchive):
    """`Archive` in a folder."""

    def __init__(self, folder: Path) -> None:
        threads = Threads()
        super().__init__(FolderFiles(folder, threads), threads)


class FolderFiles:
    """See `PartFiles`."""

    def __init__(self, folder: Path, threads: Threads) -> None:
        self._events = folder / "events"
        self._threads = threads

    async def topics(self, day: date) -> Sequence[str]:
        folder = self._events / f"date={day.isoformat()}"
        return await self._threads.run(lambda: [path.name.partition("=")[2] for path in folder.glob("topic=*")])

    async def names(self, folder: str) -> Sequence[str]:
        return await self._threads.run(lambda: [path.name for path in (self._events / folder).glob("part-*.parquet")])

    async def load(self, folder: str, name: str) -> Any:
        return self._events / folder / name

    async def write(self, folder: str, name: str, table: pa.Table) -> None:
        await self._threads.run(partial(_write, self._events / folder / name, table))

    async def check(self) -> None:
        def probe() -> None:
            self._events.mkdir(parents=True, exist_ok=True)
            if not os.access(self._events, os.W_OK):
                raise PermissionError(self._events)

        await self._threads.run(probe)

    async def close(self) -> None:
        return None


def _write(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    with draft.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
