"""A member of a consumer group on the SQLite bus."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from svc_kit.bus import sqlite_sql as sql
from svc_kit.bus.layout import check_positions
from svc_kit.bus.port import Delivery, Fenced, Position
from svc_kit.bus.waiting import wait_event
from svc_kit.clock import now_ms
from svc_kit.liveness import is_gone

if TYPE_CHECKING:
    from svc_kit.bus.sqlite import SqliteBus


class SqliteConsumer:
    """See `svc_kit.bus.port.Consumer`.

    Members agree on who holds what by computing it from the same rows; a partition changes hands when its holder
    polls, or is gone. Each change of hands and each seek begins a new generation, and only the present one may commit.
    """

    def __init__(self, bus: SqliteBus, group: str, topics: tuple[str, ...], member: str) -> None:
        self._bus = bus
        self._group = group
        self._topics = topics
        self.member = member
        self._version = -2
        self._held: dict[Position, sql.Held] = {}
        self._epoch = 0
        self._turn = 0

    @property
    def epoch(self) -> int:
        return self._epoch

    async def join(self) -> None:
        """Become a member, removing those that are gone."""
        now, expires = now_ms(self._bus.clock), self._bus.expiry()

        def work(db: sqlite3.Connection) -> dict[str, int]:
            versions = sql.purge(db, now, is_gone)
            sql.join(db, self._group, self.member, self._topics, self._bus.partitions, expires)
            return {**versions, self._group: sql.version(db, self._group)}

        self._bus.learn({}, await self._bus.threads.write(work))

    async def poll(self, limit: int, wait_s: float) -> Sequence[Delivery]:
        clock = self._bus.clock
        deadline = clock.monotonic() + wait_s
        while True:
            news = self._bus.news
            if self._version != self._bus.version(self._group):
                await self._rebalance()
            if found := await self._take(limit):
                return found
            remaining = deadline - clock.monotonic()
            if remaining <= 0:
                return []
            await wait_event(news, clock, remaining)

    async def _rebalance(self) -> None:
        expires = self._bus.expiry()

        def work(db: sqlite3.Connection) -> tuple[int, dict[Position, sql.Held]]:
            # Joining again matters to one that was paused so long that the others took it for dead.
            sql.join(db, self._group, self.member, self._topics, self._bus.partitions, expires)
            return sql.rebalance(db, self._group, self.member, self._bus.partitions)

        self._version, held = await self._bus.threads.write(work)
        for position, mine in held.items():
            before = self._held.get(position)
            if before is not None and before.generation == mine.generation:
                mine.next = max(mine.next, before.next)
        if {p: h.generation for p, h in held.items()} != {p: h.generation for p, h in self._held.items()}:
            self._epoch += 1
        self._held = held
        self._bus.learn({}, {self._group: self._version})

    async def _take(self, limit: int) -> list[Delivery]:
        heads = {p: self._bus.head(p) for p, held in self._held.items() if self._bus.head(p) >= held.next}
        if not heads:
            return []
        # Each poll begins at another partition, so that a long one can't starve the rest.
        self._turn += 1
        positions = sorted(heads)
        turn = self._turn % len(positions)
        wants = [(p, self._held[p].next) for p in positions[turn:] + positions[:turn]]
        found, empty = await self._bus.threads.read(lambda db: sql.fetch(db, wants, limit))
        for delivery in found:
            self._held[delivery.record.topic, delivery.partition].next = delivery.offset + 1
        for position in empty:
            self._held[position].next = heads[position] + 1
        return found

    async def commit(self, deliveries: Sequence[Delivery]) -> None:
        marks: dict[Position, tuple[int, int]] = {}
        for delivery in deliveries:
            position = (delivery.record.topic, delivery.partition)
            held = self._held.get(position)
            following = max(delivery.offset + 1, marks.get(position, (0, 0))[1])
            marks[position] = (held.generation if held else -1, following)
        if not marks:
            return
        fenced = await self._bus.threads.write(lambda db: sql.commit(db, self._group, self.member, marks))
        if fenced:
            raise Fenced(f"no longer held: {sorted(fenced)}")

    async def seek(self, offsets: Mapping[Position, int]) -> None:
        check_positions(offsets, self._topics, self._bus.partitions)
        version = await self._bus.threads.write(lambda db: sql.seek(db, self._group, offsets))
        self._bus.learn({}, {self._group: version})
