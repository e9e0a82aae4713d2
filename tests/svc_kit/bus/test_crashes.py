"""Outbox, relay, bus, runner and counters together, with deaths at every point: the counters equal the ledger."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import MetaData, func, select

from svc_kit.bus.layout import positions_of
from svc_kit.bus.port import Bus
from svc_kit.bus.relay import OutboxRelay
from svc_kit.bus.runner import Envelope, EventWorker, caught_up
from svc_kit.bus.schemes import open_bus
from svc_kit.clock import SystemClock
from svc_kit.counters import CounterStore, CountingHandler, Key
from svc_kit.db import Database
from svc_kit.faults import CrashPoint
from svc_kit.uow import outbox_table
from tests.support.clock import FakeClock, ticking
from tests.support.engines import server_url, servers
from tests.support.kafka import kafka_url
from tests.svc_kit.bus.support import TOPICS, database, deltas_of, like, unit_of_work

GROUP = "test.counters"
USERS, VIDEOS = 6, 4


class Died(BaseException):
    """In place of SIGKILL: no handler of errors sees it."""


def deadly(dice: random.Random, chance: float) -> CrashPoint:
    async def crash_point(_name: str) -> None:
        if dice.random() < chance:
            raise Died

    return crash_point


class Fragile:
    """Counts, and fails or dies before or after it."""

    def __init__(self, inner: CountingHandler, dice: random.Random, chance: float) -> None:
        self._inner = inner
        self._dice = dice
        self._chance = chance

    async def handle(self, batch: Sequence[Envelope]) -> None:
        self._maybe_fail()
        await self._inner.handle(batch)
        self._maybe_fail()

    def _maybe_fail(self) -> None:
        if self._dice.random() < self._chance:
            raise self._dice.choice([Died(), TimeoutError("late"), ValueError("odd")])


class Instance:
    """One process's relay and worker; whenever one dies, a new one takes its place."""

    def __init__(self, db: Database, bus: Bus, clock: FakeClock, dice: random.Random, chance: float) -> None:
        self._db, self._bus, self._clock = db, bus, clock
        self._dice, self._chance = dice, chance
        self.deaths = 0

    def relay(self) -> OutboxRelay:
        return OutboxRelay(self._db, self._bus, self._clock, crash_point=deadly(self._dice, self._chance))

    def worker(self) -> EventWorker:
        handler = CountingHandler(CounterStore(self._db, self._clock), deltas_of)
        return EventWorker(
            *(self._bus, GROUP, TOPICS, Fragile(handler, self._dice, self._chance), self._clock),
            batch=self._dice.choice([1, 3, 10]),
            attempts=50,
            crash_point=deadly(self._dice, self._chance),
        )

    async def run(self) -> None:
        await asyncio.gather(self._for_ever(self.relay), self._for_ever(self.worker))

    async def _for_ever(self, make: object) -> None:
        assert callable(make)
        while True:
            try:
                await make().run()
            except Died:
                self.deaths += 1
                await asyncio.sleep(0)


async def act(db: Database, clock: FakeClock, dice: random.Random, count: int) -> Counter[Key]:
    """Commit likes and their undoing; the ledger of what they must add up to."""
    uow, ledger, state = unit_of_work(db, clock), Counter[Key](), dict[tuple[int, int], int]()
    for _ in range(count):
        user, video = dice.randrange(1, USERS), dice.randrange(101, 101 + VIDEOS)
        version = state[user, video] = state.get((user, video), 0) + 1
        undo = version % 2 == 0
        await like(uow, user, video, version, undo=undo)
        for key in ((video, "likes"), (user, "liked")):
            ledger[key] += -1 if undo else 1
        if dice.random() < 0.3:
            await asyncio.sleep(0.002)
    return ledger


async def settled(db: Database, bus: Bus) -> None:
    """All is published and handled."""
    outbox = outbox_table(MetaData())
    waiting = select(func.count()).where(outbox.c.published_at_ms.is_(None))
    clock = SystemClock()
    async with asyncio.timeout(30):
        while True:
            async with db.read() as connection:
                unpublished = await connection.scalar(waiting)
            await caught_up(bus, GROUP, TOPICS, clock, 30)
            if not unpublished:
                return
            await clock.sleep(0.005)


async def check(db: Database, clock: FakeClock, ledger: Counter[Key]) -> None:
    assert await CounterStore(db, clock).totals(list(ledger)) == dict(ledger)


@pytest.fixture(params=["memory", "sqlite", *servers("kafka")])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "memory":
        yield "memory://?partitions=3"
    elif request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/bus.db?partitions=3"
    else:
        async with kafka_url(server_url("kafka"), partitions=3) as url:
            yield url


@pytest.mark.parametrize("seed", range(4))
async def test_counters_equal_the_ledger_whatever_dies_when(url: str, seed: int, tmp_path: Path) -> None:
    dice, clock = random.Random(seed), FakeClock()
    async with database(tmp_path) as db, ticking(clock, 0.5):
        bus = await open_bus(url, clock)
        instances = [Instance(db, bus, clock, dice, 0.15) for _ in range(2)]
        running = [asyncio.create_task(instance.run()) for instance in instances]
        ledger = await act(db, clock, dice, 40)
        await settled(db, bus)
        await check(db, clock, ledger)
        assert sum(instance.deaths for instance in instances) > 0

        async with bus.consumer(GROUP, TOPICS) as consumer:
            await consumer.seek(dict.fromkeys(positions_of(TOPICS, bus.partitions), 0))
        assert await bus.lag(GROUP, TOPICS) > 0
        await settled(db, bus)
        await check(db, clock, ledger)
        assert await bus.dead_letters(GROUP) == []
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await bus.close()
