"""Counters kept from events: right after every redelivery, replay and dead letter, and at once for the viewer who
acted.

A delivery counts when its event is not in `counted_events`; that row and the totals commit together. Those rows
are kept for a week. For an older event (its id tells) the offset decides: at or below `last_offset` it has been
counted.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import Select

from reelgraph.events.v1.event_pb2 import Event
from svc_kit.bus.runner import Envelope
from svc_kit.clock import Clock, now_ms
from svc_kit.db import Database, insert_new, upsert
from svc_kit.ids import created_ms
from svc_kit.leases import exclusive
from svc_kit.uow import outbox_table

Key = tuple[int, str]
"""Subject and kind: `(video_id, "likes")`."""
Delta = tuple[int, str, int]
"""Subject, kind and by how much."""
DeltasOf = Callable[[Event], Sequence[Delta]]
"""What an event counts; pure. The worker and read-your-writes use the same one."""

COUNTED_MS = 7 * 24 * 3_600_000
OWN_WRITES_MS = 60_000
CHUNK = 500
BASE = ("", -1)
"""Topic and partition of the part that `reset` and `reconcile` write; no event has them."""


@dataclass(frozen=True, slots=True)
class CounterTables:
    """The tables of one service's counters."""

    parts: Table
    counted: Table


@dataclass(frozen=True, slots=True)
class CountedDelivery:
    """What one delivered event counts."""

    event_id: int
    topic: str
    partition: int
    offset: int
    deltas: Sequence[Delta]


def counter_tables(metadata: MetaData) -> CounterTables:
    """`counter_parts`: sums by subject, kind and partition. `counted_events`: what is in them, for a week."""
    parts = Table(
        "counter_parts",
        metadata,
        Column("subject", BigInteger, primary_key=True, autoincrement=False),
        Column("kind", String(32), primary_key=True),
        Column("topic", String(32), primary_key=True),
        Column("bus_partition", Integer, primary_key=True),
        Column("total", BigInteger, nullable=False),
        Column("last_offset", BigInteger, nullable=False),
    )
    counted = Table(
        "counted_events",
        metadata,
        Column("store", String(32), primary_key=True),
        Column("event_id", BigInteger, primary_key=True, autoincrement=False),
        Column("counted_at_ms", BigInteger, nullable=False),
    )
    Index("counted_events_by_age", counted.c.counted_at_ms)
    return CounterTables(parts, counted)


_Part = tuple[int, str, str, int]


class CounterStore:
    """Counters of one database. `name` tells stores apart that count the same events in one database for
    different kinds."""

    def __init__(self, db: Database, clock: Clock, name: str = "main") -> None:
        self._db = db
        self._clock = clock
        self._name = name
        tables = counter_tables(MetaData())
        self._parts = tables.parts
        self._counted = tables.counted
        self._outbox = outbox_table(MetaData())

    async def apply(self, batch: Sequence[CountedDelivery]) -> set[Key]:
        """Count a batch in one transaction, each event once; the keys that changed."""
        unique = {delivery.event_id: delivery for delivery in reversed(batch)}
        return await self._db.transact(lambda connection: self._apply(connection, unique))

    async def _apply(self, connection: AsyncConnection, unique: Mapping[int, CountedDelivery]) -> set[Key]:
        counted = await self._counted_among(connection, unique)
        fresh = [delivery for event_id, delivery in sorted(unique.items()) if event_id not in counted]
        if not fresh:
            return set()
        sums, offsets = _summed(fresh, await self._passed(connection, fresh))
        now = now_ms(self._clock)
        rows = [{"store": self._name, "event_id": d.event_id, "counted_at_ms": now} for d in fresh]
        await insert_new(connection, self._counted, rows)
        await self._add(connection, sums, offsets)
        return {(subject, kind) for subject, kind, _, _ in sums}

    async def _counted_among(self, connection: AsyncConnection, event_ids: Iterable[int]) -> set[int]:
        c, found = self._counted, set[int]()
        for some in _chunks(event_ids):
            query = select(c.c.event_id).where(c.c.store == self._name, c.c.event_id.in_(some))
            found.update((await connection.scalars(query)).all())
        return found

    async def _passed(self, connection: AsyncConnection, fresh: Sequence[CountedDelivery]) -> set[tuple[int, Key]]:
        """What was counted by events whose rows in `counted_events` are gone: event id and key."""
        horizon = now_ms(self._clock) - COUNTED_MS
        old = [delivery for delivery in fresh if created_ms(delivery.event_id) <= horizon]
        p, last = self._parts, dict[_Part, int]()
        for some in _chunks({subject for delivery in old for subject, _, _ in delivery.deltas}):
            query = select(p.c.subject, p.c.kind, p.c.topic, p.c.bus_partition, p.c.last_offset)
            for s, kind, topic, partition, offset in (
                await connection.execute(query.where(p.c.subject.in_(some)))
            ).all():
                last[s, kind, topic, partition] = offset
        return {
            (d.event_id, (subject, kind))
            for d in old
            for subject, kind, _ in d.deltas
            if d.offset <= last.get((subject, kind, d.topic, d.partition), -1)
        }

    async def _add(self, connection: AsyncConnection, sums: Mapping[_Part, int], offsets: Mapping[_Part, int]) -> None:
        p = self._parts
        names = ("subject", "kind", "topic", "bus_partition")
        # In the order of the key: two writers that lock the same rows never wait for each other in a ring.
        rows = [
            {**dict(zip(names, part, strict=True)), "total": total, "last_offset": offsets[part]}
            for part, total in sorted(sums.items())
        ]

        def changes(new: Mapping[str, ColumnElement[int]]) -> Mapping[str, ColumnElement[int]]:
            later = case((new["last_offset"] > p.c.last_offset, new["last_offset"]), else_=p.c.last_offset)
            return {"total": p.c.total + new["total"], "last_offset": later}

        for some in _chunks(rows):
            await connection.execute(upsert(self._db, p, some, key=names, update=changes))

    async def totals(self, keys: Sequence[Key]) -> dict[Key, int]:
        """The sum of each key; 0 for what was never counted."""
        return await self.totals_for(keys, 0, _nothing)

    async def totals_for(self, keys: Sequence[Key], viewer_id: int, deltas_of: DeltasOf) -> dict[Key, int]:
        """`totals`, with what the viewer did in the last 60 s and is not counted yet. One query, so one snapshot."""
        totals = dict.fromkeys(keys, 0)
        if not keys:
            return totals
        sums = self._sums(keys)
        query = union_all(sums, self._own_events(viewer_id)) if viewer_id else sums
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
        for subject, kind, total, payload in rows:
            deltas = deltas_of(Event.FromString(payload)) if payload is not None else [(subject, kind, int(total))]
            for changed, what, by in deltas:
                if (changed, what) in totals:
                    totals[changed, what] += by
        return totals

    def _sums(self, keys: Sequence[Key]) -> Select[Any, Any, Any, Any]:
        p = self._parts
        payload: ColumnElement[bytes] = cast(null(), LargeBinary)
        return (
            select(p.c.subject, p.c.kind, cast(func.sum(p.c.total), BigInteger), payload)
            .where(p.c.subject.in_({subject for subject, _ in keys}), p.c.kind.in_({kind for _, kind in keys}))
            .group_by(p.c.subject, p.c.kind)
        )

    def _own_events(self, viewer_id: int) -> Select[Any, Any, Any, Any]:
        o = self._outbox
        return self._uncounted().where(o.c.key == viewer_id, o.c.created_at_ms > now_ms(self._clock) - OWN_WRITES_MS)

    def _uncounted(self) -> Select[Any, Any, Any, Any]:
        o, c = self._outbox, self._counted
        counted = exists().where(c.c.store == self._name, c.c.event_id == o.c.event_id)
        return select(o.c.event_id, literal("", String), cast(literal(0), BigInteger), o.c.payload).where(~counted)

    async def touched(self, viewer_id: int, deltas_of: DeltasOf) -> set[Key]:
        """The keys that the viewer's own writes of the last 60 s change, counted yet or not."""
        o = self._outbox
        query = select(o.c.payload).where(o.c.key == viewer_id, o.c.created_at_ms > now_ms(self._clock) - OWN_WRITES_MS)
        async with self._db.read() as connection:
            payloads = (await connection.scalars(query)).all()
        return {(s, kind) for payload in payloads for s, kind, _ in deltas_of(Event.FromString(payload))}

    async def reset(self, subject: int, kind: str, total: int) -> None:
        """Make the sum `total` as of the events counted so far. What was counted stays counted, so replays change
        nothing."""

        async def rebase(connection: AsyncConnection) -> None:
            await self._rebasing_alone(connection)
            await self._rebase(connection, {(subject, kind): total})

        await self._db.transact(rebase, snapshot=True)

    async def reconcile(
        self,
        truth: Callable[[AsyncConnection], Awaitable[Mapping[Key, int]]],
        topics: Sequence[str],
        deltas_of: DeltasOf,
    ) -> int:
        """Make sums agree with rows: `truth` counts them, called in the same transaction; how many sums were wrong.

        Events of `topics` that are in the outbox but not counted yet are taken off, for they will be counted.
        """

        async def agree(connection: AsyncConnection) -> int:
            await self._rebasing_alone(connection)
            wanted = Counter(dict(await truth(connection)))
            o = self._outbox
            pending = await connection.execute(self._uncounted().where(o.c.topic.in_(topics)))
            for row in pending.all():
                for subject, kind, by in deltas_of(Event.FromString(row.payload)):
                    if (subject, kind) in wanted:
                        wanted[subject, kind] -= by
            return await self._rebase(connection, wanted)

        # Rows, outbox and sums as of one moment; the differences are added to whatever the sums are by then.
        return await self._db.transact(agree, snapshot=True)

    async def _rebasing_alone(self, connection: AsyncConnection) -> None:
        # Two that found the same difference must not both write it.
        await exclusive(self._db, connection, f"counters:{self._name}")

    async def _rebase(self, connection: AsyncConnection, wanted: Mapping[Key, int]) -> int:
        """Write the difference between the wanted and the present sums into the base parts; how many differed."""
        present: Counter[Key] = Counter()
        for some in _chunks(wanted):
            for subject, kind, total, _ in (await connection.execute(self._sums(some))).all():
                present[subject, kind] = int(total)
        sums = {(*key, *BASE): total - present[key] for key, total in wanted.items() if total != present[key]}
        await self._add(connection, sums, dict.fromkeys(sums, 0))
        return len(sums)

    async def prune(self, limit: int = 5000) -> int:
        """Forget at most `limit` events that were counted more than a week ago; how many."""
        c, before = self._counted, now_ms(self._clock) - COUNTED_MS
        async with self._db.read() as connection:
            # A little longer than `apply` relies on, so that no event falls between the two rules.
            old = select(c.c.store, c.c.event_id).where(c.c.counted_at_ms < before - OWN_WRITES_MS).limit(limit)
            rows = (await connection.execute(old)).all()
        if rows:
            statement = delete(c).where(c.c.store == bindparam("s"), c.c.event_id == bindparam("e"))
            async with self._db.write() as connection:
                await connection.execute(statement, [{"s": store, "e": event_id} for store, event_id in rows])
        return len(rows)


class Counting(Protocol):
    """What applies counted deliveries: `CounterStore` or `svc_kit.counter_cache.CachedCounters`."""

    async def apply(self, batch: Sequence[CountedDelivery]) -> set[Key]:
        """See `CounterStore.apply`."""
        ...


class CountingHandler:
    """A `svc_kit.bus.runner.Handler` that counts events."""

    def __init__(self, counters: Counting, deltas_of: DeltasOf) -> None:
        self._counters = counters
        self._deltas_of = deltas_of

    async def handle(self, batch: Sequence[Envelope]) -> None:
        counted = ((envelope, self._deltas_of(envelope.event)) for envelope in batch)
        await self._counters.apply(
            [CountedDelivery(e.event.id, e.topic, e.partition, e.offset, deltas) for e, deltas in counted]
        )


def _summed(
    fresh: Sequence[CountedDelivery], passed: set[tuple[int, Key]]
) -> tuple[dict[_Part, int], dict[_Part, int]]:
    """Sums and highest offsets by part."""
    sums: Counter[_Part] = Counter()
    offsets: dict[_Part, int] = {}
    for d in fresh:
        for subject, kind, by in d.deltas:
            if (d.event_id, (subject, kind)) not in passed:
                part = (subject, kind, d.topic, d.partition)
                sums[part] += by
                offsets[part] = max(offsets.get(part, d.offset), d.offset)
    return dict(sums), offsets


_T = TypeVar("_T")


def _chunks(items: Iterable[_T]) -> Iterator[list[_T]]:
    """Lists of at most `CHUNK`, for databases bound the number of parameters."""
    rest = iter(items)
    while some := list(itertools.islice(rest, CHUNK)):
        yield some


def _nothing(_event: Event) -> Sequence[Delta]:
    return ()
