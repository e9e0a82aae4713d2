"""The archive as Parquet files in a folder: `file:///folder`.

`events/date=2027-01-31/topic=watch/part-0003-<first offset>-<last offset>-<first event id>.parquet`
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import anyio.to_thread
import pyarrow as pa
import pyarrow.parquet as pq
from anyio import CapacityLimiter

from feed_svc.analytics.store import ArchivedEvent
from svc_kit.errors import unavailable

T = TypeVar("T")

THREADS = 2
BATCH_ROWS = 2000
_PART = re.compile(r"part-(\d{4})-(\d{19})-(\d{19})-(\d+)\.parquet")
_COLUMNS = [field.name for field in fields(ArchivedEvent)]


async def open(url: str) -> ParquetArchive:
    """The archive in the folder of `url`, made at the first write."""
    parts = urlsplit(url)
    return ParquetArchive(Path(unquote(parts.netloc + parts.path)))


@dataclass(frozen=True, slots=True, order=True)
class _Part:
    """One file, by what its name says."""

    partition: int
    first: int
    last: int
    first_id: int

    @property
    def name(self) -> str:
        return f"part-{self.partition:04d}-{self.first:019d}-{self.last:019d}-{self.first_id}.parquet"


class ParquetArchive:
    """`Archive` of files. A file appears under its name only when it is whole and on the disk."""

    def __init__(self, folder: Path) -> None:
        self._events = folder / "events"
        self._limiter = CapacityLimiter(THREADS)
        self._schema = _schema()

    async def put(self, events: Sequence[ArchivedEvent]) -> int:
        return await self._run(partial(self._put, events))

    def _put(self, events: Sequence[ArchivedEvent]) -> int:
        groups: dict[tuple[date, str, int], list[ArchivedEvent]] = defaultdict(list)
        for event in events:
            groups[_day(event.occurred_at_ms), event.topic, event.partition].append(event)
        return sum(self._add(self._folder(day, topic), group) for (day, topic, _), group in groups.items())

    def _folder(self, day: date, topic: str) -> Path:
        return self._events / f"date={day.isoformat()}" / f"topic={topic}"

    def _add(self, folder: Path, events: Sequence[ArchivedEvent]) -> int:
        """Write what no file has yet. The offsets in names say which files to ask; ids decide, for a bus that was made
        anew counts from 0 again."""
        events = sorted(events, key=lambda event: event.offset)
        spanned = _Part(events[0].partition, events[0].offset, events[-1].offset, 0)
        there: set[int] = set()
        for part in _parts(folder):
            if part.partition == spanned.partition and part.first <= spanned.last and spanned.first <= part.last:
                there.update(pq.read_table(folder / part.name, columns=["id"])["id"].to_pylist())
        missing = list({event.id: event for event in reversed(events) if event.id not in there}.values())[::-1]
        if missing:
            part = _Part(spanned.partition, missing[0].offset, missing[-1].offset, missing[0].id)
            self._write(folder / part.name, missing)
        return len(missing)

    def _write(self, path: Path, events: Sequence[ArchivedEvent]) -> None:
        columns = {name: [getattr(event, name) for event in events] for name in _COLUMNS}
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        with draft.open("wb") as file:
            pq.write_table(pa.table(columns, schema=self._schema), file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        _sync_folder(path.parent)

    async def read(self, first: date, last: date, topics: Sequence[str] = ()) -> AsyncIterator[ArchivedEvent]:
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            for topic in await self._run(partial(self._topics, day, topics)):
                async for event in self._read_folder(self._folder(day, topic)):
                    yield event

    def _topics(self, day: date, wanted: Sequence[str]) -> list[str]:
        there = [path.name.partition("=")[2] for path in (self._events / f"date={day.isoformat()}").glob("topic=*")]
        return sorted(topic for topic in there if not wanted or topic in wanted)

    async def _read_folder(self, folder: Path) -> AsyncIterator[ArchivedEvent]:
        # An event that was published twice has two offsets; its day and topic are the same.
        seen: set[int] = set()
        for part in await self._run(lambda: sorted(_parts(folder))):
            batches = _batches(folder / part.name)
            while (batch := await self._run(partial(next, batches, None))) is not None:
                for event in batch:
                    if event.id not in seen:
                        seen.add(event.id)
                        yield event

    async def check(self) -> None:
        def probe() -> None:
            self._events.mkdir(parents=True, exist_ok=True)
            if not os.access(self._events, os.W_OK):
                raise PermissionError(self._events)

        await self._run(probe)

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)
        except OSError as error:
            raise unavailable("The archive can't be used.") from error


def _batches(path: Path) -> Iterator[list[ArchivedEvent]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=_COLUMNS):
            yield [ArchivedEvent(**row) for row in batch.to_pylist()]


def _parts(folder: Path) -> list[_Part]:
    names = (path.name for path in folder.glob("part-*.parquet"))
    return [_Part(*map(int, match.groups())) for match in map(_PART.fullmatch, names) if match]


def _day(at_ms: int) -> date:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date()


def _schema() -> pa.Schema:
    kinds = {"int": pa.int64(), "str": pa.string(), "bytes": pa.binary()}
    return pa.schema([pa.field(f.name, kinds[str(f.type)], nullable=False) for f in fields(ArchivedEvent)])


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
