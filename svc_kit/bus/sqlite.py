"""The bus in one SQLite file, for all processes of one machine.

What `publish` and `bury` acknowledged survives a killed process and a power failure: those commits are flushed to
the disk (`synchronous=full`), for the relay forgets an event once the bus has it. Offsets and leases are written
without a flush: they survive a killed process, and what a power failure takes of them comes again.
`synchronous=normal` flushes nothing at commit and survives a killed process only.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs

from svc_kit.bus import sqlite_sql as sql
from svc_kit.bus.layout import DEFAULT_PARTITIONS, check_records, check_topics, positions_of
from svc_kit.bus.port import TOPICS, Bus, Consumer, DeadLetter, Delivery, Position, Record
from svc_kit.bus.sqlite_consumer import SqliteConsumer
from svc_kit.bus.sqlite_threads import SqliteThreads
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.liveness import is_gone, new_holder
from svc_kit.telemetry import log

LOOK_S = 0.25
"""How often other processes' records and members are looked for; those of this process wake the others at once."""
MEMBER_TTL_MS = 15_000
HEARTBEAT_S = 5.0
PRUNE_S = 60.0
PRUNE_BATCH = 1000


async def open(url: str, clock: Clock) -> Bus:
    """Open `sqlite:///relative/path` or `sqlite:////absolute/path`, with
    `?partitions=8&synchronous=full&retention_hours=0`.

    `partitions` is fixed when the file is made; another value later raises ValueError. `retention_hours`: remove
    records older than that which every group has committed; 0 keeps all.
    """
    location, _, query = url.partition("?")
    path = location.removeprefix("sqlite:///")
    options = {name: values[-1] for name, values in parse_qs(query).items()}
    synchronous = options.pop("synchronous", "full")
    if synchronous not in ("full", "normal"):
        raise ValueError(f"synchronous={synchronous}: valid: full, normal")
    partitions, hours = int(options.pop("partitions", "0")), float(options.pop("retention_hours", "0"))
    if options or path in ("", location):
        raise ValueError(f"bus URL {url}: expected sqlite:///path[?partitions=&synchronous=&retention_hours=]")
    return await SqliteBus.open(
        Path(path), clock, partitions=partitions or None, flush=synchronous == "full", retention_hours=hours
    )


class SqliteBus:
    """See `svc_kit.bus.port.Bus`. A record whose event id is in the log already is dropped."""

    def __init__(self, threads: SqliteThreads, clock: Clock, partitions: int, retention_ms: int) -> None:
        self.threads = threads
        self.clock = clock
        self._partitions = partitions
        self._retention_ms = retention_ms
        self._heads: dict[Position, int] = {}
        self._versions: dict[str, int] = {}
        self._members: set[str] = set()
        self._seen = 0
        self._news = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        clock: Clock,
        *,
        partitions: int | None = None,
        flush: bool = True,
        retention_hours: float = 0.0,
    ) -> SqliteBus:
        """Open or make the file. `partitions`: None takes what the file has, or 8."""
        path.parent.mkdir(parents=True, exist_ok=True)
        threads = SqliteThreads(path, flush=flush)
        try:
            await threads.open(sql.SCHEMA)
            actual = await threads.write(lambda db: sql.fixed_partitions(db, partitions or DEFAULT_PARTITIONS))
            if partitions not in (None, actual):
                raise ValueError(f"partitions={partitions}: {path} was made with {actual}, and that is fixed")
            bus = cls(threads, clock, actual, int(retention_hours * 3_600_000))
            bus._heads = await threads.read(lambda db: sql.heads_of(db, positions_of(TOPICS, actual)))
            bus._seen = max(bus._heads.values())
        except BaseException:
            await threads.close()
            raise
        bus._watcher = asyncio.create_task(bus._watch(), name="bus-watch")
        return bus

    @property
    def partitions(self) -> int:
        return self._partitions

    @property
    def news(self) -> asyncio.Event:
        """Set at the next change; take it before looking."""
        return self._news

    def head(self, position: Position) -> int:
        """The last known offset of a partition; 0 when it has none."""
        return self._heads.get(position, 0)

    def version(self, group: str) -> int:
        """The last known version of a group's membership and offsets."""
        return self._versions.get(group, -1)

    def learn(self, heads: Mapping[Position, int], versions: Mapping[str, int]) -> None:
        """Take over what is known of the file now, and wake all who wait for a change."""
        if _raise_to(self._heads, heads) | _raise_to(self._versions, versions):
            news, self._news = self._news, asyncio.Event()
            news.set()

    async def publish(self, records: Sequence[Record]) -> None:
        check_records(records)
        now = now_ms(self.clock)
        if records:
            heads = await self.threads.write(lambda db: sql.append(db, records, self._partitions, now), durable=True)
            self.learn(heads, {})

    @asynccontextmanager
    async def consumer(self, group: str, topics: Sequence[str]) -> AsyncIterator[Consumer]:
        check_topics(topics)
        consumer = SqliteConsumer(self, group, tuple(topics), new_holder())
        self._members.add(consumer.member)
        try:
            await consumer.join()
            yield consumer
        finally:
            self._members.discard(consumer.member)
            # A bus that is closed or can't be written: the member expires.
            with contextlib.suppress(AppError):
                await asyncio.shield(self._leave(group, consumer.member))

    async def _leave(self, group: str, member: str) -> None:
        self.learn({}, {group: await self.threads.write(lambda db: sql.leave(db, group, member))})

    async def groups(self) -> Mapping[str, Sequence[str]]:
        return await self.threads.read(sql.groups)

    async def drop_group(self, group: str) -> None:
        await self.threads.write(lambda db: sql.drop_group(db, group))

    async def ends(self, topics: Sequence[str]) -> Mapping[Position, int]:
        heads = await self.threads.read(lambda db: sql.heads_of(db, positions_of(topics, self._partitions)))
        return {position: head + 1 for position, head in heads.items()}

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        return await self.threads.read(lambda db: sql.lag(db, group, positions_of(topics, self._partitions)))

    async def bury(self, group: str, delivery: Delivery, error: str) -> None:
        now = now_ms(self.clock)
        await self.threads.write(lambda db: sql.bury(db, group, delivery, error, now), durable=True)

    async def dead_letters(self, group: str, limit: int = 1000) -> Sequence[DeadLetter]:
        return await self.threads.read(lambda db: sql.dead_letters(db, group, limit))

    async def forget(self, letters: Sequence[DeadLetter]) -> None:
        await self.threads.write(lambda db: sql.forget(db, letters))

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
            self._watcher = None
        await self.threads.close()

    def expiry(self) -> int:
        """Until when a member that says now that it runs is believed to, in ms."""
        return now_ms(self.clock) + MEMBER_TTL_MS

    async def _watch(self) -> None:
        beat = pruned = self.clock.monotonic()
        while True:
            await self.clock.sleep(LOOK_S)
            now = self.clock.monotonic()
            try:
                if now - beat >= HEARTBEAT_S:
                    await self._heartbeat()
                    beat = now
                await self._look()
                if self._retention_ms and now - pruned >= PRUNE_S:
                    await self._prune()
                    pruned = now
            except AppError as error:
                log(__name__).warning("looking at the bus failed", error=error.message)

    async def _look(self) -> None:
        now = now_ms(self.clock)
        gone = self._gone()
        news = await self.threads.read(lambda db: sql.look(db, self._seen, now, gone))
        self._seen = news.last
        self.learn(news.heads, news.versions)
        if news.lost:
            self.learn({}, await self.threads.write(lambda db: sql.purge(db, now, gone)))

    def _gone(self) -> Callable[[str], bool]:
        own = frozenset(self._members)
        gone = functools.cache(is_gone)
        return lambda member: member not in own and gone(member)

    async def _heartbeat(self) -> None:
        members, expires = sorted(self._members), self.expiry()
        if members:
            await self.threads.write(lambda db: sql.heartbeat(db, members, expires))

    async def _prune(self) -> None:
        before = now_ms(self.clock) - self._retention_ms
        more = True
        while more:
            more = await self.threads.write(lambda db: sql.prune(db, before, PRUNE_BATCH)) == PRUNE_BATCH


_Name = TypeVar("_Name")


def _raise_to(known: dict[_Name, int], fresh: Mapping[_Name, int]) -> bool:
    higher = {name: value for name, value in fresh.items() if known.get(name, -1) < value}
    known.update(higher)
    return bool(higher)
