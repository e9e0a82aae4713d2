"""The bus in one process's memory, for tests and instances that may forget: it keeps every record until it is closed.

It stores a repeated event id twice, as a log without an index over ids does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from svc_kit.bus.layout import (
    DEFAULT_PARTITIONS,
    assign,
    check_positions,
    check_records,
    check_topics,
    partition_of,
    positions_of,
)
from svc_kit.bus.port import Bus, Consumer, DeadLetter, Delivery, Fenced, Position, Record
from svc_kit.bus.waiting import wait_event
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import unavailable


async def open(url: str, clock: Clock) -> Bus:
    """Open `memory://[?partitions=8]`."""
    options = parse_qs(urlsplit(url).query)
    return MemoryBus(clock, partitions=int(options.get("partitions", [str(DEFAULT_PARTITIONS)])[0]))


@dataclass(slots=True)
class _Group:
    members: dict[str, tuple[str, ...]] = field(default_factory=dict)
    topics: set[str] = field(default_factory=set)
    owners: dict[Position, str] = field(default_factory=dict)
    generations: dict[Position, int] = field(default_factory=dict)
    committed: dict[Position, int] = field(default_factory=dict)
    letters: dict[tuple[Position, int], DeadLetter] = field(default_factory=dict)
    version: int = 0


class MemoryBus:
    """See `svc_kit.bus.port.Bus`. One event loop."""

    def __init__(self, clock: Clock, *, partitions: int = DEFAULT_PARTITIONS) -> None:
        self.clock = clock
        self._partitions = partitions
        self._log: dict[Position, list[Delivery]] = {}
        self._groups: dict[str, _Group] = {}
        self._news = asyncio.Event()
        self._names = itertools.count(1)
        self._closed = False

    @property
    def partitions(self) -> int:
        return self._partitions

    @property
    def news(self) -> asyncio.Event:
        """Set at the next change; take it before looking."""
        return self._news

    def notify(self) -> None:
        """Wake all who wait for a change."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def group(self, name: str) -> _Group:
        """The state of a group, new when it is."""
        return self._groups.setdefault(name, _Group())

    def tail(self, position: Position, start: int, limit: int) -> list[Delivery]:
        """At most `limit` deliveries of a partition from offset `start`."""
        return self._log.get(position, [])[start : start + limit]

    async def publish(self, records: Sequence[Record]) -> None:
        check_records(records)
        if self._closed:
            raise unavailable("The event bus is closed.")
        for record in records:
            partition = partition_of(record.key, self._partitions)
            log = self._log.setdefault((record.topic, partition), [])
            log.append(Delivery(record, partition, len(log)))
        self.notify()

    @asynccontextmanager
    async def consumer(self, group: str, topics: Sequence[str]) -> AsyncIterator[Consumer]:
        check_topics(topics)
        state, member = self.group(group), f"{group}-{next(self._names)}"
        state.members[member] = tuple(topics)
        state.topics.update(topics)
        state.version += 1
        self.notify()
        try:
            yield MemoryConsumer(self, group, member)
        finally:
            del state.members[member]
            for position in [p for p, owner in state.owners.items() if owner == member]:
                del state.owners[position]
            state.version += 1
            self.notify()

    async def groups(self) -> Mapping[str, Sequence[str]]:
        return {name: sorted(state.topics) for name, state in sorted(self._groups.items()) if state.topics}

    async def drop_group(self, group: str) -> None:
        self._groups.pop(group, None)

    async def ends(self, topics: Sequence[str]) -> Mapping[Position, int]:
        return {p: len(self._log.get(p, [])) for p in positions_of(topics, self._partitions)}

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        committed = self.group(group).committed
        return sum(max(0, end - committed.get(p, 0)) for p, end in (await self.ends(topics)).items())

    async def bury(self, group: str, delivery: Delivery, error: str) -> None:
        place = ((delivery.record.topic, delivery.partition), delivery.offset)
        letter = DeadLetter(group, delivery, error, now_ms(self.clock))
        self.group(group).letters.setdefault(place, letter)

    async def dead_letters(self, group: str, limit: int = 1000) -> Sequence[DeadLetter]:
        return list(itertools.islice(self.group(group).letters.values(), limit))

    async def forget(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            place = ((letter.delivery.record.topic, letter.delivery.partition), letter.delivery.offset)
            self.group(letter.group).letters.pop(place, None)

    async def close(self) -> None:
        self._closed = True
        self.notify()


class MemoryConsumer:
    """See `svc_kit.bus.port.Consumer`."""

    def __init__(self, bus: MemoryBus, group: str, member: str) -> None:
        self._bus = bus
        self._group = bus.group(group)
        self._member = member
        self._version = -1
        self._next: dict[Position, int] = {}
        self._generations: dict[Position, int] = {}
        self._epoch = 0
        self._turn = 0

    @property
    def epoch(self) -> int:
        return self._epoch

    async def poll(self, limit: int, wait_s: float) -> Sequence[Delivery]:
        deadline = self._bus.clock.monotonic() + wait_s
        while True:
            news = self._bus.news
            if self._version != self._group.version:
                self._rebalance()
            if found := self._take(limit):
                return found
            remaining = deadline - self._bus.clock.monotonic()
            if remaining <= 0:
                return []
            await wait_event(news, self._bus.clock, remaining)

    def _take(self, limit: int) -> list[Delivery]:
        found: list[Delivery] = []
        positions = sorted(self._next)
        self._turn += 1
        for i in range(len(positions)):
            position = positions[(self._turn + i) % len(positions)]
            part = self._bus.tail(position, self._next[position], limit - len(found))
            self._next[position] += len(part)
            found += part
        return found

    def _rebalance(self) -> None:
        group, me = self._group, self._member
        owners = assign(group.members, self._bus.partitions, group.owners)
        given = [p for p, owner in group.owners.items() if owner == me and owners.get(p) != me]
        for position in given:
            del group.owners[position]
        for position, owner in owners.items():
            if owner == me and position not in group.owners:
                group.owners[position] = me
                group.generations[position] = group.generations.get(position, 0) + 1
        if given:
            group.version += 1
            self._bus.notify()
        self._version = group.version
        mine = {p: group.generations[p] for p, owner in group.owners.items() if owner == me}
        if mine != self._generations:
            self._epoch += 1
        self._next = {
            p: self._next[p] if self._generations.get(p) == generation else group.committed.get(p, 0)
            for p, generation in mine.items()
        }
        self._generations = mine

    async def commit(self, deliveries: Sequence[Delivery]) -> None:
        fenced = []
        for delivery in deliveries:
            position = (delivery.record.topic, delivery.partition)
            generation = self._group.generations.get(position)
            if self._group.owners.get(position) != self._member or self._generations.get(position) != generation:
                fenced.append(position)
                continue
            committed = self._group.committed
            committed[position] = max(committed.get(position, 0), delivery.offset + 1)
        if fenced:
            raise Fenced(f"no longer held: {sorted(set(fenced))}")

    async def seek(self, offsets: Mapping[Position, int]) -> None:
        check_positions(offsets, self._group.members.get(self._member, ()), self._bus.partitions)
        for position, offset in offsets.items():
            self._group.committed[position] = max(0, offset)
            self._group.generations[position] = self._group.generations.get(position, 0) + 1
        self._group.version += 1
        self._bus.notify()
