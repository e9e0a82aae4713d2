"""The archive worker: every event of the bus in the archive, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import date
from pathlib import Path

import pytest

from feed_svc.analytics.queries import ArchiveQueries
from feed_svc.analytics.store import Archive, ArchivedEvent
from feed_svc.analytics.stores.parquet import ParquetArchive
from feed_svc.analytics.worker import GROUP, ArchiveWorker
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.follow_pb2 import FollowCreated
from svc_kit.bus.memory import MemoryBus
from svc_kit.bus.port import TOPICS, Bus, Record
from svc_kit.bus.runner import caught_up
from svc_kit.clock import SystemClock, now_ms
from svc_kit.errors import unavailable
from tests.feed.analytics.test_parquet_archive import ids_in_files
from tests.support.clock import FakeClock

FIRST, LAST = date(2026, 12, 31), date(2027, 1, 31)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def bus(clock: FakeClock) -> AsyncIterator[Bus]:
    opened = MemoryBus(clock)
    yield opened
    await opened.close()


def record(clock: FakeClock, number: int) -> Record:
    event = Event(id=number, actor_id=number % 5, entity=f"follow:{number}:1", entity_version=3, request_id="req")
    event.occurred_at.FromDatetime(clock.now())
    event.follow_created.CopyFrom(FollowCreated(follower_id=number, followee_id=1))
    return Record("follow", event.actor_id, event.id, event.entity, event.SerializeToString())


@asynccontextmanager
async def archiving(
    bus: Bus, archive: Archive, clock: FakeClock, *, flush_events: int = 1000, flush_s: float = 0
) -> AsyncIterator[None]:
    worker = ArchiveWorker(bus, archive, clock, flush_events=flush_events, flush_s=flush_s)
    task = asyncio.ensure_future(worker.run())
    try:
        yield
    finally:
        failed = task.done()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert not failed


async def settled(bus: Bus) -> None:
    await caught_up(bus, GROUP, TOPICS, SystemClock(), 20)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def read(archive: Archive) -> list[ArchivedEvent]:
    return [event async for event in archive.read(FIRST, LAST)]


async def test_every_event_is_archived_with_its_columns(tmp_path: Path, bus: Bus, clock: FakeClock) -> None:
    archive = ParquetArchive(tmp_path)
    await bus.publish([record(clock, 7)])
    async with archiving(bus, archive, clock):
        await settled(bus)
    (event,) = await read(archive)
    assert (event.id, event.topic, event.type, event.actor_id) == (7, "follow", "follow_created", 2)
    assert (event.entity, event.entity_version, event.request_id) == ("follow:7:1", 3, "req")
    assert event.occurred_at_ms == now_ms(clock)
    assert json.loads(event.body) == {"follower_id": "7", "followee_id": "1"}
    assert Event.FromString(event.payload).follow_created.follower_id == 7


async def test_what_cannot_be_read_is_kept_as_it_is(tmp_path: Path, bus: Bus, clock: FakeClock) -> None:
    archive = ParquetArchive(tmp_path)
    await bus.publish([Record("follow", 4, 1 << 60, "follow:1:2", b"\xff\xff\xff")])
    async with archiving(bus, archive, clock):
        await settled(bus)
    assert len(ids_in_files(tmp_path)) == 1


async def test_replaying_the_whole_log_yields_no_event_twice(tmp_path: Path, bus: Bus, clock: FakeClock) -> None:
    archive = ParquetArchive(tmp_path)
    for turn, flush_events in enumerate((7, 30, 1000, 3)):
        await bus.publish([record(clock, turn * 100 + number) for number in range(1, 41)])
        ends = await bus.ends(TOPICS)
        async with bus.consumer(GROUP, TOPICS) as consumer:
            await consumer.seek(dict.fromkeys(ends, 0))
        async with archiving(bus, archive, clock, flush_events=flush_events):
            await settled(bus)
    expected = sorted(turn * 100 + number for turn in range(4) for number in range(1, 41))
    assert sorted(ids_in_files(tmp_path)) == expected
    assert sorted(event.id for event in await read(archive)) == expected


async def test_a_crash_after_the_file_and_before_the_commit_yields_no_event_twice(
    tmp_path: Path, bus: Bus, clock: FakeClock
) -> None:
    archive = ParquetArchive(tmp_path)
    await bus.publish([record(clock, number) for number in range(1, 21)])
    killed = KilledAfterPut(archive)
    worker = ArchiveWorker(bus, killed, clock, flush_events=9, flush_s=0)
    with pytest.raises(Killed):
        await worker.run()
    assert len(ids_in_files(tmp_path)) >= 9
    await bus.publish([record(clock, number) for number in range(21, 31)])
    async with archiving(bus, archive, clock, flush_events=4):
        await settled(bus)
    assert sorted(ids_in_files(tmp_path)) == list(range(1, 31))


async def test_few_events_wait_for_their_time_and_are_committed_only_then(
    tmp_path: Path, bus: Bus, clock: FakeClock
) -> None:
    archive = ParquetArchive(tmp_path)
    await bus.publish([record(clock, number) for number in range(1, 4)])
    async with archiving(bus, archive, clock, flush_s=60):
        for _ in range(3):
            await until(lambda: clock.sleepers > 0)
            clock.advance(15)
        assert ids_in_files(tmp_path) == []
        assert await bus.lag(GROUP, TOPICS) == 3
        async with asyncio.timeout(20):
            while await bus.lag(GROUP, TOPICS):
                await until(lambda: clock.sleepers > 0)
                clock.advance(2)
                await asyncio.sleep(0.005)
    assert sorted(ids_in_files(tmp_path)) == [1, 2, 3]


async def test_while_the_archive_is_down_nothing_is_committed_and_nothing_lost(
    tmp_path: Path, bus: Bus, clock: FakeClock
) -> None:
    archive = FailingArchive(tmp_path)
    await bus.publish([record(clock, number) for number in range(1, 11)])
    async with archiving(bus, archive, clock):
        await until(lambda: archive.failures == 1)
        assert await bus.lag(GROUP, TOPICS) == 10
        archive.down = False
        async with asyncio.timeout(20):
            while await bus.lag(GROUP, TOPICS):
                clock.advance(5)
                await asyncio.sleep(0.005)
    assert sorted(ids_in_files(tmp_path)) == list(range(1, 11))


async def test_history_gives_events_from_a_moment_on(tmp_path: Path, bus: Bus, clock: FakeClock) -> None:
    archive = ParquetArchive(tmp_path)
    await bus.publish([record(clock, 1)])
    clock.advance(36 * 3600)
    since = now_ms(clock)
    await bus.publish([record(clock, 2)])
    async with archiving(bus, archive, clock):
        await settled(bus)
    history = ArchiveQueries(archive, clock)
    assert [Event.FromString(p).id async for p in history.since(since, ("follow",))] == [2]
    assert [Event.FromString(p).id async for p in history.since(since, ("watch",))] == []
    assert [e.id async for e in history.read_events(FIRST, LAST)] == [1, 2]


class Killed(BaseException):
    """The process ends here."""


class KilledAfterPut(ParquetArchive):
    """Ends the process once a file is durable."""

    def __init__(self, inner: ParquetArchive) -> None:
        self._inner = inner

    async def put(self, events: Sequence[ArchivedEvent]) -> int:
        await self._inner.put(events)
        raise Killed


class FailingArchive(ParquetArchive):
    """Refuses to write while `down`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.down = True
        self.failures = 0

    async def put(self, events: Sequence[ArchivedEvent]) -> int:
        if self.down:
            self.failures += 1
            raise unavailable("The disk is full.")
        return await super().put(events)
