"""The relay publishes every committed event at least once, whatever fails between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update

from svc_kit.bus.layout import MAX_PAYLOAD_BYTES
from svc_kit.bus.memory import MemoryBus
from svc_kit.bus.port import Record
from svc_kit.bus.relay import LEASE_TTL_MS, REFUSED, OutboxRelay
from svc_kit.clock import SystemClock, now_ms
from svc_kit.db import Database
from svc_kit.errors import unavailable
from svc_kit.uow import UnitOfWork
from tests.support.clock import FakeClock, ticking
from tests.support.databases import DATABASES
from tests.svc_kit.bus.support import database, like, liked_record, unit_of_work


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=DATABASES)
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with database(tmp_path, request.param) as db:
        yield db


@pytest.fixture
def uow(db: Database, clock: FakeClock) -> UnitOfWork:
    return unit_of_work(db, clock)


class FailingBus(MemoryBus):
    """Refuses the first publishes as a broker that is down."""

    def __init__(self, clock: FakeClock, failures: int) -> None:
        super().__init__(clock)
        self.failures = failures

    async def publish(self, records: Sequence[Record]) -> None:
        if self.failures:
            self.failures -= 1
            raise unavailable("The event bus is down.")
        await super().publish(records)


async def published(bus: MemoryBus) -> list[int]:
    """Event ids on the bus, by (partition, offset)."""
    ends = await bus.ends(["engagement"])
    return [d.record.event_id for p, end in ends.items() for d in bus.tail(p, 0, end)]


@asynccontextmanager
async def relaying(relay: OutboxRelay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(bus: MemoryBus, count: int) -> None:
    clock = SystemClock()
    async with asyncio.timeout(20):
        while len(await published(bus)) < count:
            await clock.sleep(0.002)


async def put(db: Database, uow: UnitOfWork, seq: int, record: Record) -> None:
    values = {"topic": record.topic, "key": record.key, "entity": record.entity, "payload": record.payload}
    row = {"seq": seq, "event_id": record.event_id, "created_at_ms": now_ms(uow.clock), **values}
    async with db.write() as connection:
        await connection.execute(insert(uow.outbox).values(row))


async def test_a_commit_wakes_the_relay_without_time_passing(db: Database, uow: UnitOfWork, clock: FakeClock) -> None:
    bus = MemoryBus(clock)
    async with relaying(OutboxRelay(db, bus, clock)):
        for video in range(3):
            event_id = await like(uow, 1, video)
            await until(bus, video + 1)
            assert event_id in await published(bus)


async def test_rows_of_another_process_are_found_by_polling(db: Database, uow: UnitOfWork, clock: FakeClock) -> None:
    bus = MemoryBus(clock)
    async with relaying(OutboxRelay(db, bus, clock)), ticking(clock):
        await put(db, uow, 1, liked_record(11))
        await until(bus, 1)


async def test_a_lower_number_that_comes_later_is_not_skipped(db: Database, uow: UnitOfWork, clock: FakeClock) -> None:
    bus = MemoryBus(clock)
    relay = OutboxRelay(db, bus, clock)
    await put(db, uow, 100, liked_record(1))
    assert await relay.flush() == 1
    await put(db, uow, 50, liked_record(2))
    assert await relay.flush() == 1
    assert await relay.flush() == 0
    assert await published(bus) == [1, 2]


async def test_events_of_one_key_keep_the_order_of_their_rows(db: Database, uow: UnitOfWork, clock: FakeClock) -> None:
    bus = MemoryBus(clock)
    for seq, event_id in ((3, 30), (1, 40), (2, 20)):
        await put(db, uow, seq, liked_record(event_id))
    await OutboxRelay(db, bus, clock).flush()
    assert await published(bus) == [40, 20, 30]


async def test_events_wait_in_the_outbox_while_the_bus_is_down(db: Database, uow: UnitOfWork, clock: FakeClock) -> None:
    bus = FailingBus(clock, failures=4)
    ids = [await like(uow, 1, video) for video in range(3)]
    async with relaying(OutboxRelay(db, bus, clock)), ticking(clock):
        await until(bus, 3)
    assert await published(bus) == ids


async def test_a_death_between_publishing_and_marking_publishes_again(
    db: Database, uow: UnitOfWork, clock: FakeClock
) -> None:
    bus = MemoryBus(clock)
    event_id = await like(uow, 1, 2)

    async def die(name: str) -> None:
        if name == "relay.after_publish":
            raise unavailable("died")

    with pytest.raises(Exception, match="died"):
        await OutboxRelay(db, bus, clock, crash_point=die).flush()
    clock.advance(LEASE_TTL_MS / 1000 + 1)
    assert await OutboxRelay(db, bus, clock).flush() == 1
    assert await published(bus) == [event_id, event_id]


async def test_an_event_that_the_bus_refuses_does_not_hold_up_the_others(
    db: Database, uow: UnitOfWork, clock: FakeClock
) -> None:
    bus = MemoryBus(clock)
    huge = Record("engagement", 1, 2, "video_like:2:1", b"x" * (MAX_PAYLOAD_BYTES + 1))
    for seq, record in enumerate((liked_record(1), huge, liked_record(3)), start=1):
        await put(db, uow, seq, record)
    await OutboxRelay(db, bus, clock).flush()
    assert await published(bus) == [1, 3]
    async with db.read() as connection:
        query = select(uow.outbox.c.event_id).where(uow.outbox.c.published_at_ms == REFUSED)
        assert (await connection.scalars(query)).all() == [2]


async def test_only_one_relay_at_a_time_publishes(db: Database, uow: UnitOfWork, clock: FakeClock) -> None:
    bus = MemoryBus(clock)
    one, two = OutboxRelay(db, bus, clock), OutboxRelay(db, bus, clock)
    await like(uow, 1, 2)
    assert await one.flush() == 1
    await like(uow, 1, 3)
    assert await two.flush() == 0
    clock.advance(LEASE_TTL_MS / 1000 + 1)
    assert await two.flush() == 1
    await like(uow, 1, 4)
    assert await one.flush() == 0


async def test_a_stopped_relay_hands_over_at_once(db: Database, uow: UnitOfWork, clock: FakeClock) -> None:
    bus = MemoryBus(clock)
    async with relaying(OutboxRelay(db, bus, clock)):
        await like(uow, 1, 2)
        await until(bus, 1)
    event_id = await like(uow, 1, 3)
    await OutboxRelay(db, bus, clock).flush()
    assert event_id in await published(bus)


async def test_rows_are_kept_for_an_hour_after_publishing(db: Database, uow: UnitOfWork, clock: FakeClock) -> None:
    relay = OutboxRelay(db, MemoryBus(clock), clock)
    await like(uow, 1, 2)
    await relay.flush()
    clock.advance(3600)
    await like(uow, 1, 3)
    await like(uow, 1, 4)
    async with db.write() as connection:
        newest = select(func.max(uow.outbox.c.seq)).scalar_subquery()
        await connection.execute(update(uow.outbox).where(uow.outbox.c.seq == newest).values(published_at_ms=REFUSED))
    assert await relay.prune() == 1
    assert await relay.flush() == 1
    assert await relay.prune() == 0
