"""A broker that dies, hangs and comes back: what was acknowledged is there, nobody waits for long, all goes on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import suppress

import pytest

from svc_kit.bus import kafka
from svc_kit.bus.port import Bus, Record
from svc_kit.bus.runner import EventWorker, caught_up
from svc_kit.bus.waiting import Backoff
from svc_kit.clock import SystemClock
from svc_kit.errors import AppError, Reason
from tests.support.kafka import kafka_url
from tests.support.kafka_broker import Broker, own_broker
from tests.svc_kit.bus.kafka_support import Handled, running
from tests.svc_kit.bus.support import liked_record

pytestmark = [pytest.mark.servers, pytest.mark.engine("kafka"), pytest.mark.xdist_group("kafka")]

CLOCK = SystemClock()
GROUP = "test.faults"
PATIENCE_S = 60.0


def make(event_id: int) -> Record:
    return Record("account", event_id % 20, event_id, f"account:{event_id % 20}", b"x" * 200)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with own_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
async def bus(broker: Broker) -> AsyncIterator[Bus]:
    async with kafka_url(broker.url) as url:
        bus = await kafka.open(f"{url}&timeout_s=2", CLOCK)
        async with asyncio.timeout(PATIENCE_S):
            while not await coordinated(bus):
                pass
        yield bus
        await bus.close()


async def coordinated(bus: Bus) -> bool:
    """Whether the broker has made what it keeps groups in, which it begins when it is first asked."""
    try:
        await bus.lag(GROUP, ["account"])
    except AppError:
        return False
    return True


async def unavailable(use: Awaitable[object]) -> AppError:
    """Fails with UNAVAILABLE and a hint when to come again, before a caller has lost patience."""
    with pytest.raises(AppError) as refused:
        await asyncio.wait_for(use, PATIENCE_S)
    assert refused.value.reason is Reason.UNAVAILABLE
    assert refused.value.retry_after_ms
    return refused.value


async def until_it_works(bus: Bus, event_id: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(AppError):
                await bus.publish([make(event_id)])
                return
            await asyncio.sleep(0.1)


async def read_all(bus: Bus) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(PATIENCE_S), bus.consumer(GROUP, ["account"]) as consumer:
        while await bus.lag(GROUP, ["account"]):
            batch = await consumer.poll(1000, 1.0)
            found += [delivery.record.event_id for delivery in batch]
            await consumer.commit(batch)
    return found


async def test_a_broker_killed_in_the_middle_has_everything_that_was_acknowledged(broker: Broker, bus: Bus) -> None:
    acknowledged: list[int] = []
    stop = asyncio.Event()

    async def publish(first: int) -> None:
        event_id = first
        while not stop.is_set():
            with suppress(AppError):
                await bus.publish([make(event_id + i) for i in range(10)])
                acknowledged.extend(event_id + i for i in range(10))
            event_id += 100

    publishers = [asyncio.create_task(publish(i * 10 + 1)) for i in range(8)]
    await asyncio.sleep(1.0)
    broker.send(signal.SIGKILL)
    before = len(acknowledged)
    await asyncio.to_thread(broker.start)
    async with asyncio.timeout(PATIENCE_S):
        while len(acknowledged) < before + 500:
            await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*publishers)
    assert before > 0
    assert set(acknowledged) <= set(await read_all(bus))


async def test_nobody_waits_for_a_broker_that_is_gone_and_all_goes_on_when_it_is_back(broker: Broker, bus: Bus) -> None:
    await bus.publish([make(1)])
    async with bus.consumer(GROUP, ["account"]) as consumer:
        while not (batch := await consumer.poll(10, 1.0)):
            pass
        broker.send(signal.SIGKILL)
        await asyncio.gather(
            unavailable(bus.publish([make(2)])),
            unavailable(bus.lag(GROUP, ["account"])),
            unavailable(bus.bury(GROUP, batch[0], "broken")),
            unavailable(consumer.commit(batch)),
        )
        assert not await consumer.poll(10, 0.2)
        await asyncio.to_thread(broker.start)
        await until_it_works(bus, 3)
    assert {1, 3} <= set(await read_all(bus))


async def test_nobody_waits_for_a_broker_that_hangs(broker: Broker, bus: Bus) -> None:
    await bus.publish([make(1)])
    broker.send(signal.SIGSTOP)
    await asyncio.gather(*(unavailable(bus.publish([make(i)])) for i in range(2, 50)))
    await unavailable(bus.ends(["account"]))
    broker.send(signal.SIGCONT)
    await until_it_works(bus, 50)
    assert {1, 50} <= set(await read_all(bus))


async def test_a_worker_outlives_its_broker_and_does_each_thing(broker: Broker, bus: Bus) -> None:
    handler = Handled()
    worker = EventWorker(bus, GROUP, ["engagement"], handler, CLOCK, backoff=Backoff(0.01, 0.5))
    await bus.publish([liked_record(i, user=i) for i in range(1, 21)])
    async with running(asyncio.create_task(worker.run())):
        await caught_up(bus, GROUP, ["engagement"], CLOCK, PATIENCE_S)
        broker.send(signal.SIGKILL)
        await asyncio.sleep(3.0)
        await asyncio.to_thread(broker.start)
        await until_it_works(bus, 1)
        await bus.publish([liked_record(i, user=i) for i in range(21, 41)])
        async with asyncio.timeout(PATIENCE_S):
            while set(handler.ids) != set(range(1, 41)):
                await asyncio.sleep(0.05)


async def test_closing_does_not_wait_for_a_broker_that_hangs(broker: Broker, bus: Bus) -> None:
    async with bus.consumer(GROUP, ["account"]) as consumer:
        await consumer.poll(1, 0)
        publishing = asyncio.create_task(bus.publish([make(1)]))
        broker.send(signal.SIGSTOP)
        await asyncio.wait_for(bus.close(), PATIENCE_S)
        with suppress(AppError):
            await publishing
    broker.send(signal.SIGCONT)
