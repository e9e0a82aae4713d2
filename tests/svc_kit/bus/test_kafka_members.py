"""Members of a group on Kafka that come, go, work for long, are killed and are paused: no loss, no double effect."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from svc_kit.bus import kafka
from svc_kit.bus.kafka_config import settings_of
from svc_kit.bus.port import Bus, Delivery, Fenced
from svc_kit.bus.runner import caught_up
from svc_kit.clock import SystemClock
from tests.support.engines import server_url
from tests.support.kafka import kafka_url
from tests.svc_kit.bus.kafka_support import make, running

pytestmark = [pytest.mark.servers, pytest.mark.engine("kafka"), pytest.mark.xdist_group("kafka")]

ROOT = Path(__file__).parents[3]
CLOCK = SystemClock()
GROUP = "test.members"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with kafka_url(server_url("kafka")) as url:
        yield url


@pytest.fixture
async def bus(url: str) -> AsyncIterator[Bus]:
    bus = await kafka.open(url, CLOCK)
    yield bus
    await bus.close()


class Ledger:
    """What an idempotent handler of several members has done: each event's effect once, in order for each key."""

    def __init__(self) -> None:
        self.effects: dict[int, list[int]] = defaultdict(list)
        self.last: dict[int, int] = {}
        self.repeated = 0

    def apply(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            key, event_id = delivery.record.key, delivery.record.event_id
            if event_id <= self.last.get(key, 0):
                self.repeated += 1
                continue
            self.last[key] = event_id
            self.effects[key].append(event_id)


async def member(bus: Bus, ledger: Ledger, stop: asyncio.Event, pause_s: float = 0.01) -> None:
    async with bus.consumer(GROUP, ["account"]) as consumer:
        while not stop.is_set():
            deliveries = await consumer.poll(20, 0.2)
            await asyncio.sleep(pause_s)
            ledger.apply(deliveries)
            with suppress(Fenced):
                await consumer.commit(deliveries)


async def publish_all(bus: Bus, count: int, keys: int) -> None:
    for first in range(1, count, 50):
        await bus.publish([make(i, i % keys) for i in range(first, first + 50)])
        await asyncio.sleep(0.01)


class TestRebalances:
    async def test_members_that_come_and_go_under_load_lose_nothing_and_keep_order(self, url: str, bus: Bus) -> None:
        count, keys = 3000, 17
        other, ledger = await kafka.open(url, CLOCK), Ledger()
        stops = [asyncio.Event() for _ in range(4)]
        publishing = asyncio.create_task(publish_all(bus, count, keys))
        members = [asyncio.create_task(member(bus, ledger, stops[0]))]
        async with asyncio.timeout(60), running(*members):
            for stop in stops[1:]:
                await asyncio.sleep(0.5)
                members.append(asyncio.create_task(member(other, ledger, stop)))
            await publishing
            stops[1].set()
            stops[2].set()
            await asyncio.gather(members[1], members[2])
            await caught_up(bus, GROUP, ["account"], CLOCK, 50)
            for stop in stops:
                stop.set()
            await asyncio.gather(*members)
        for key in range(keys):
            assert ledger.effects[key] == [i for i in range(1, count + 1) if i % keys == key]
        # A partition moves when its batch is committed: handing it over makes nobody do anything again.
        assert ledger.repeated == 0
        await other.close()

    async def test_a_batch_at_work_holds_its_partition_until_it_is_committed(self, bus: Bus) -> None:
        await bus.publish([make(i, i) for i in range(1, 41)])
        async with bus.consumer(GROUP, ["account"]) as one:
            batch: list[Delivery] = []
            while len(batch) < 40:
                batch += await one.poll(100, 1.0)
            joining = asyncio.create_task(self._first(bus))
            await asyncio.sleep(1.5)
            await one.commit(batch)
            assert not await one.poll(100, 0.1)
            await bus.publish([make(i, i) for i in range(41, 81)])
            async with asyncio.timeout(20):
                while not joining.done():
                    await one.commit(await one.poll(100, 0.1))
            assert {d.record.event_id for d in joining.result()} <= set(range(41, 81))

    async def _first(self, bus: Bus) -> Sequence[Delivery]:
        async with bus.consumer(GROUP, ["account"]) as two:
            while not (found := await two.poll(100, 0.5)):
                pass
            return found

    async def test_a_handler_slower_than_the_session_keeps_its_partitions(self, url: str, bus: Bus) -> None:
        await bus.publish([make(i, i) for i in range(1, 21)])
        async with bus.consumer(GROUP, ["account"]) as consumer:
            batch: list[Delivery] = []
            while len(batch) < 20:
                batch += await consumer.poll(100, 1.0)
            epoch = consumer.epoch
            await asyncio.sleep(2 * settings_of(url).session_s)
            await consumer.commit(batch)
            assert consumer.epoch == epoch
        assert await bus.lag(GROUP, ["account"]) == 0

    async def test_what_a_killed_member_held_is_taken_over_after_its_session(self, url: str, bus: Bus) -> None:
        await bus.publish([make(i, i) for i in range(1, 21)])
        command = (sys.executable, "-c", HOLDER, url)
        child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        assert child.stdout is not None
        assert await asyncio.wait_for(child.stdout.readline(), 30) == b"20\n"
        child.send_signal(signal.SIGKILL)
        await child.wait()
        found: set[int] = set()
        async with asyncio.timeout(30), bus.consumer(GROUP, ["account"]) as consumer:
            while len(found) < 20:
                found |= {d.record.event_id for d in await consumer.poll(100, 1.0)}

    async def test_a_paused_process_is_fenced_and_goes_on_as_a_new_member(self, url: str, bus: Bus) -> None:
        await bus.publish([make(i, i) for i in range(1, 21)])
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SLEEPER, url),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stdin is not None
        assert await asyncio.wait_for(child.stdout.readline(), 30) == b"20\n"
        child.send_signal(signal.SIGSTOP)
        found: set[int] = set()
        async with asyncio.timeout(60), bus.consumer(GROUP, ["account"]) as consumer:
            while len(found) < 20:
                batch = await consumer.poll(100, 1.0)
                await consumer.commit(batch)
                found |= {d.record.event_id for d in batch}
            child.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.5)
            child.stdin.write(b"commit\n")
            await consumer.poll(100, 1.0)
            reading = asyncio.create_task(child.stdout.read())
            while not reading.done():
                await consumer.poll(100, 0.2)
            assert reading.result().splitlines()[-1] == b"fenced"
        await child.wait()


HOLDER = """
import asyncio, sys
from svc_kit.bus.schemes import open_bus
from svc_kit.clock import SystemClock

async def main():
    bus = await open_bus(sys.argv[1], SystemClock())
    async with bus.consumer("test.members", ["account"]) as consumer:
        found = 0
        while found < 20:
            found += len(await consumer.poll(100, 1.0))
        print(found, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

SLEEPER = """
import asyncio, sys
from svc_kit.bus.port import Fenced
from svc_kit.bus.schemes import open_bus
from svc_kit.clock import SystemClock

async def main():
    bus = await open_bus(sys.argv[1], SystemClock())
    async with bus.consumer("test.members", ["account"]) as consumer:
        found = []
        while len(found) < 20:
            found += await consumer.poll(100, 1.0)
        print(len(found), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        try:
            await consumer.commit(found)
        except Fenced:
            print("fenced", flush=True)
        else:
            print("committed", flush=True)

asyncio.run(main())
"""
