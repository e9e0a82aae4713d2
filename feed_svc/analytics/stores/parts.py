"""The archive as Parquet files, wherever those are kept.

`events/date=2027-01-31/topic=watch/part-0003-<first offset>-<last offset>-<first event id>.parquet`
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

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


class PartFiles(Protocol):
    """Files by folder (`date=.../topic=...`) and name. A file appears under its name only when it is whole and safe.
    Failures are UNAVAILABLE."""

    async def topics(self, day: date) -> Sequence[str]:
        """Topics that a day has files of."""
        ...

    async def names(self, folder: str) -> Sequence[str]:
        """Names in a folder; none when there is no such folder."""
        ...

    async def load(self, folder: str, name: str) -> Any:
        """What pyarrow reads a file from."""
        ...

    async def write(self, folder: str, name: str, table: pa.Table) -> None: ...

    async def check(self) -> None:
        """Raise UNAVAILABLE when nothing can be written."""
        ...

    async def close(self) -> None: ...


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


class Threads:
    """Disk and pyarrow work, off the event loop; a failing disk is UNAVAILABLE."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(THREADS)

    async def run(self, work: Callable[[], T]) -> T:
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)
        except OSError as error:
            raise unavailable("The archive can't be used.") from error


class PartedArchive:
    """`Archive` of files."""

    def __init__(self, files: PartFiles, threads: Threads) -> None:
        self._files = files
        self._threads = threads
        self._schema = _schema()

    async def put(self, events: Sequence[ArchivedEvent]) -> int:
        groups: dict[tuple[date, str, int], list[ArchivedEvent]] = defaultdict(list)
        for event in events:
            groups[_day(event.occurred_at_ms), event.topic, event.partition].append(event)
        added = 0
        for (day, topic, _), group in groups.items():
            added += await self._add(_folder(day, topic), group)
        return added

    async def _add(self, folder: str, events: Sequence[ArchivedEvent]) -> int:
        """Write what no file has yet. The offsets in names say which files to ask; ids decide, for a bus that was made
        anew counts from 0 again."""
        events = sorted(events, key=lambda event: event.offset)
        spanned = _Part(events[0].partition, events[0].offset, events[-1].offset, 0)
        there: set[int] = set()
        for part in await self._parts(folder):
            if part.partition == spanned.partition and part.first <= spanned.last and spanned.first <= part.last:
                there |= await self._ids(folder, part)
        missing = list({event.id: event for event in reversed(events) if event.id not in there}.values())[::-1]
        if missing:
            part = _Part(spanned.partition, missing[0].offset, missing[-1].offset, missing[0].id)
            table = await self._threads.run(partial(self._table, missing))
            await self._files.write(folder, part.name, table)
        return len(missing)

    async def _parts(self, folder: str) -> list[_Part]:
        matches = map(_PART.fullmatch, await self._files.names(folder))
        return sorted(_Part(*map(int, match.groups())) for match in matches if match)

    async def _ids(self, folder: str, part: _Part) -> set[int]:
        source = await self._files.load(folder, part.name)
        found = await self._threads.run(lambda: pq.read_table(source, columns=["id"])["id"].to_pylist())
        return set(found)

    def _table(self, events: Sequence[ArchivedEvent]) -> pa.Table:
        columns = {name: [getattr(event, name) for event in events] for name in _COLUMNS}
        return pa.table(columns, schema=self._schema)

    async def read(self, first: date, last: date, topics: Sequence[str] = ()) -> AsyncIterator[ArchivedEvent]:
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            there = await self._files.topics(day)
            for topic in sorted(topic for topic in there if not topics or topic in topics):
                async for event in self._read_folder(_folder(day, topic)):
                    yield event

    async def _read_folder(self, folder: str) -> AsyncIterator[ArchivedEvent]:
        # An event that was published twice has two offsets; its day and topic are the same.
        seen: set[int] = set()
        for part in await self._parts(folder):
            batches = _batches(await self._files.load(folder, part.name))
            while (batch := await self._threads.run(partial(next, batches, None))) is not None:
                for event in batch:
                    if event.id not in seen:
                        seen.add(event.id)
                        yield event

    async def check(self) -> None:
        await self._files.check()

    async def close(self) -> None:
        await self._files.close()


def _batches(source: Any) -> Iterator[list[ArchivedEvent]]:
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=_COLUMNS):
            yield [ArchivedEvent(**row) for row in batch.to_pylist()]


def _folder(day: date, topic: str) -> str:
    return f"date={day.isoformat()}/topic={topic}"


def _day(at_ms: int) -> date:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date()


def _schema() -> pa.Schema:
    kinds = {"int": pa.int64(), "str": pa.string(), "bytes": pa.binary()}
    return pa.schema([pa.field(f.name, kinds[str(f.type)], nullable=False) for f in fields(ArchivedEvent)])
