"""The runner: at least once, order within an entity, dead letters, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
import structlog

from svc_kit.bus import runner
from svc_kit.bus.dead_letters import Retried, retry_dead_letters
from svc_kit.bus.memory import MemoryBus
from svc_kit.bus.port import Consumer, Record
from svc_kit.bus.runner import Envelope, EventWorker, caught_up
from svc_kit.clock import SystemClock
from svc_kit.errors import unavailable
from svc_kit.telemetry import current_request_id
from tests.support.clock import FakeClock, ticking
from tests.svc_kit.bus.support import TOPICS, liked_record

GROUP = "test.likes"


class Handled:
    """Remembers what it handled; `react` may raise for a batch."""

    def __init__(self, react: Callable[[Sequence[Envelope]], None] = lambda batch: None) -> None:
        self.ids: list[int] = []
        self.calls = 0
        self.react = react

    async def handle(self, batch: Sequence[Envelope]) -> None:
        self.calls += 1
        self.react(batch)
        self.ids += [envelope.event.id for envelope in batch]


def fails_on(*event_ids: int) -> Callable[[Sequence[Envelope]], None]:
    def react(batch: Sequence[Envelope]) -> None:
        if any(envelope.event.id in event_ids for envelope in batch):
            raise ValueError("cannot handle this")

    return react


@pytest.fixture
async def clock() -> AsyncIterator[FakeClock]:
    clock = FakeClock()
    async with ticking(clock):
        yield clock


@pytest.fixture
def bus(clock: FakeClock) -> MemoryBus:
    return MemoryBus(clock)


@asynccontextmanager
async def running(worker: EventWorker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settle(bus: MemoryBus) -> None:
    await caught_up(bus, GROUP, TOPICS, SystemClock(), 20)


async def asleep(clock: FakeClock) -> None:
    """Return when somebody waits for `clock`."""
    while not clock.sleepers:
        await SystemClock().sleep(0)


def worker(bus: MemoryBus, handler: runner.Handler, clock: FakeClock) -> EventWorker:
    return EventWorker(bus, GROUP, TOPICS, handler, clock, attempts=3)


async def test_events_are_handled_in_order_and_committed(bus: MemoryBus, clock: FakeClock) -> None:
    handler = Handled()
    await bus.publish([liked_record(i) for i in range(1, 6)])
    async with running(worker(bus, handler, clock)):
        await settle(bus)
        await bus.publish([liked_record(6)])
        await settle(bus)
    assert handler.ids == [1, 2, 3, 4, 5, 6]
    assert await bus.dead_letters(GROUP) == []


async def test_a_dependency_that_is_down_is_waited_for_without_burying(bus: MemoryBus, clock: FakeClock) -> None:
    outages = [unavailable("down"), ConnectionError("refused"), TimeoutError("late")] * 4

    def react(_batch: Sequence[Envelope]) -> None:
        if outages:
            raise outages.pop()

    handler = Handled(react)
    await bus.publish([liked_record(1), liked_record(2)])
    async with running(worker(bus, handler, clock)):
        await settle(bus)
    assert handler.ids == [1, 2]
    assert await bus.dead_letters(GROUP) == []


async def test_an_event_that_fails_every_attempt_is_buried_and_others_go_on(bus: MemoryBus, clock: FakeClock) -> None:
    handler = Handled(fails_on(2))
    await bus.publish([liked_record(1, video=10), liked_record(2, video=20), liked_record(3, video=30)])
    async with running(worker(bus, handler, clock)):
        await settle(bus)
    assert handler.ids == [1, 3]
    assert handler.calls == 1 + 1 + 3 + 1
    (letter,) = await bus.dead_letters(GROUP)
    assert letter.delivery.record.event_id == 2
    assert letter.error == "ValueError: cannot handle this"


async def test_an_event_that_succeeds_within_its_attempts_is_not_buried(bus: MemoryBus, clock: FakeClock) -> None:
    failures = [ValueError("odd"), ValueError("odd")]

    def react(_batch: Sequence[Envelope]) -> None:
        if failures:
            raise failures.pop()

    handler = Handled(react)
    await bus.publish([liked_record(1)])
    async with running(worker(bus, handler, clock)):
        await settle(bus)
    assert handler.ids == [1]


async def test_later_events_of_the_entity_are_buried_behind_it(bus: MemoryBus, clock: FakeClock) -> None:
    handler = Handled(fails_on(1))
    await bus.publish([liked_record(1, video=10), liked_record(2, video=20), liked_record(3, video=10)])
    async with running(worker(bus, handler, clock)):
        await settle(bus)
        await bus.publish([liked_record(4, video=10), liked_record(5, video=20)])
        await settle(bus)
    assert handler.ids == [2, 5]
    assert [x.delivery.record.event_id for x in await bus.dead_letters(GROUP)] == [1, 3, 4]


async def test_a_new_worker_knows_which_entities_are_held_back(bus: MemoryBus, clock: FakeClock) -> None:
    await bus.publish([liked_record(1, video=10)])
    async with running(worker(bus, Handled(fails_on(1)), clock)):
        await settle(bus)
    handler = Handled()
    await bus.publish([liked_record(2, video=10), liked_record(3, video=20)])
    async with running(worker(bus, handler, clock)):
        await settle(bus)
    assert handler.ids == [3]


async def test_dead_letters_handled_again_in_order_free_their_entity(bus: MemoryBus, clock: FakeClock) -> None:
    handler = Handled(fails_on(1))
    await bus.publish([liked_record(1, video=10), liked_record(2, video=10)])
    async with running(worker(bus, handler, clock)):
        await settle(bus)
        assert await retry_dead_letters(bus, GROUP, handler) == Retried(handled=0, left=2)
        handler.react = lambda batch: None
        assert await retry_dead_letters(bus, GROUP, handler) == Retried(handled=2, left=0)
        await bus.publish([liked_record(3, video=10)])
        await settle(bus)
    assert handler.ids == [1, 2, 3]


async def test_retrying_dead_letters_stops_at_an_outage(bus: MemoryBus, clock: FakeClock) -> None:
    handler = Handled(fails_on(1))
    await bus.publish([liked_record(1)])
    async with running(worker(bus, handler, clock)):
        await settle(bus)

    def down(_batch: Sequence[Envelope]) -> None:
        raise unavailable("down")

    with pytest.raises(Exception, match="down"):
        await retry_dead_letters(bus, GROUP, Handled(down))
    assert len(await bus.dead_letters(GROUP)) == 1


async def test_what_is_not_an_event_is_buried(bus: MemoryBus, clock: FakeClock) -> None:
    handler = Handled()
    await bus.publish([Record("engagement", 1, 1, "video_like:1:1", b"\xff\xff"), liked_record(2)])
    async with running(worker(bus, handler, clock)):
        await settle(bus)
    assert handler.ids == [2]
    (letter,) = await bus.dead_letters(GROUP)
    assert letter.error.startswith("DecodeError")


async def test_a_handler_that_hangs_is_cut_off_and_its_event_buried(
    bus: MemoryBus, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HANDLE_TIMEOUT_S", 0.005)

    class Hangs:
        async def handle(self, batch: Sequence[Envelope]) -> None:
            await asyncio.Event().wait()

    await bus.publish([liked_record(1)])
    async with running(worker(bus, Hangs(), clock)):
        await settle(bus)
    (letter,) = await bus.dead_letters(GROUP)
    assert letter.error.startswith("HandlerTimeout")


async def test_a_cancelled_batch_comes_again(bus: MemoryBus, clock: FakeClock) -> None:
    entered = asyncio.Event()

    class Hangs:
        async def handle(self, batch: Sequence[Envelope]) -> None:
            entered.set()
            await asyncio.Event().wait()

    await bus.publish([liked_record(1)])
    async with running(worker(bus, Hangs(), clock)):
        await asyncio.wait_for(entered.wait(), 20)
    handler = Handled()
    async with running(worker(bus, handler, clock)):
        await settle(bus)
    assert handler.ids == [1]


async def test_draining_finishes_and_commits_the_batch_at_hand(bus: MemoryBus, clock: FakeClock) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    class Slow:
        async def handle(self, batch: Sequence[Envelope]) -> None:
            entered.set()
            await leave.wait()

    await bus.publish([liked_record(1)])
    slow = worker(bus, Slow(), clock)
    task = asyncio.create_task(slow.run())
    await asyncio.wait_for(entered.wait(), 20)
    draining = asyncio.create_task(slow.drain())
    await asyncio.sleep(0)
    leave.set()
    await asyncio.wait_for(asyncio.gather(draining, task), 20)
    assert await bus.lag(GROUP, TOPICS) == 0


async def test_draining_an_idle_worker_returns_at_once() -> None:
    still = FakeClock()
    idle = worker(MemoryBus(still), Handled(), still)
    task = asyncio.create_task(idle.run())
    await asleep(still)
    await asyncio.wait_for(idle.drain(), 20)
    await asyncio.wait_for(task, 20)


async def test_draining_gives_up_on_a_dependency_that_is_down(bus: MemoryBus) -> None:
    still = FakeClock()

    def down(_batch: Sequence[Envelope]) -> None:
        raise unavailable("down")

    await bus.publish([liked_record(1)])
    waiting = worker(bus, Handled(down), still)
    task = asyncio.create_task(waiting.run())
    await asleep(still)
    await asyncio.wait_for(waiting.drain(), 20)
    await asyncio.wait_for(task, 20)
    assert await bus.lag(GROUP, TOPICS) == 1


async def test_a_worker_outlives_an_outage_of_the_bus(clock: FakeClock) -> None:
    class Broken(MemoryBus):
        failures = 3

        def consumer(self, group: str, topics: Sequence[str]):  # type: ignore[no-untyped-def]
            self.failures -= 1
            if self.failures >= 0:
                raise unavailable("The event bus is down.")
            return super().consumer(group, topics)

    bus, handler = Broken(clock), Handled()
    await bus.publish([liked_record(1)])
    async with running(worker(bus, handler, clock)):
        await settle(bus)
    assert handler.ids == [1]


async def test_the_request_that_caused_an_event_is_known_while_it_is_handled(bus: MemoryBus, clock: FakeClock) -> None:
    seen: list[tuple[str, object]] = []

    def react(_batch: Sequence[Envelope]) -> None:
        seen.append((current_request_id(), structlog.contextvars.get_contextvars().get("request_id")))

    async with running(worker(bus, Handled(react), clock)):
        await bus.publish([liked_record(1, request_id="abc")])
        await settle(bus)
        await bus.publish([liked_record(2)])
        await settle(bus)
    assert seen == [("abc", "abc"), ("", None)]


async def test_a_member_that_lost_its_partitions_goes_on(bus: MemoryBus, clock: FakeClock) -> None:
    stolen: list[Consumer] = []

    class Moves:
        def __init__(self) -> None:
            self.ids: list[int] = []

        async def handle(self, batch: Sequence[Envelope]) -> None:
            if not stolen:
                async with bus.consumer(GROUP, TOPICS) as other:
                    stolen.append(other)
                    await other.seek({("engagement", batch[0].partition): 0})
            self.ids += [envelope.event.id for envelope in batch]

    handler = Moves()
    await bus.publish([liked_record(1)])
    async with running(worker(bus, handler, clock)):
        await settle(bus)
    assert handler.ids == [1, 1]


async def test_waiting_for_a_group_that_does_not_run_ends(bus: MemoryBus, clock: FakeClock) -> None:
    await bus.publish([liked_record(1)])
    with pytest.raises(TimeoutError, match="1 events behind"):
        await caught_up(bus, GROUP, TOPICS, clock, 1.0)
