"""What only the Kafka bus promises: topics made and checked, bounded memory, replays, dead letters, an end."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from svc_kit import backends
from svc_kit.backends import EngineUnusable
from svc_kit.bus import SCHEMES, kafka, kafka_member
from svc_kit.bus.dead_letters import retry_dead_letters
from svc_kit.bus.kafka_config import settings_of
from svc_kit.bus.kafka_consumer import KafkaGroupConsumer
from svc_kit.bus.port import TOPICS, Bus, Consumer, Delivery, Fenced
from svc_kit.bus.runner import EventWorker, caught_up
from svc_kit.bus.waiting import Backoff
from svc_kit.clock import SystemClock
from svc_kit.errors import AppError, Reason
from tests.support.engines import server_url
from tests.support.kafka import PARTITIONS, kafka_url
from tests.svc_kit.bus.kafka_support import Handled, make, running
from tests.svc_kit.bus.support import liked_record

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


class TestTopics:
    async def test_what_was_migrated_is_found_and_made_once(self, url: str) -> None:
        found = await asyncio.gather(kafka.migrate(url), kafka.migrate(url))
        assert {*found, await kafka.verify(url)} == {found[0]}
        assert f"topics: {len(TOPICS)} of {PARTITIONS} partitions" in found[0]

    async def test_two_migrate_an_empty_broker_at_once(self, url: str) -> None:
        fresh = re.sub(r"prefix=[^&]*", f"prefix={settings_of(url).prefix}fresh.", url)
        await asyncio.gather(kafka.migrate(fresh), kafka.migrate(fresh))
        assert str(PARTITIONS) in await kafka.verify(fresh)

    async def test_missing_topics_name_the_command_that_makes_them(self, url: str) -> None:
        empty = url.replace("prefix=", "prefix=nothing-")
        for look in (kafka.verify(empty), kafka.open(empty, CLOCK)):
            with pytest.raises(EngineUnusable, match="reelgraph migrate"):
                await look

    async def test_another_number_of_partitions_is_refused_and_none_is_taken_over(self, url: str) -> None:
        with pytest.raises(EngineUnusable, match=f"made with {PARTITIONS}"):
            await kafka.open(url.replace(f"partitions={PARTITIONS}", "partitions=5"), CLOCK)
        bus = await kafka.open(url.replace(f"partitions={PARTITIONS}&", ""), CLOCK)
        assert bus.partitions == PARTITIONS
        await bus.close()

    async def test_a_wrong_password_is_told_from_an_unreachable_broker(self, url: str) -> None:
        settings = settings_of(url)
        assert settings.user
        wrong = url.replace(f":{settings.password}@", ":wrong-secret@")
        for scheme in ("kafka", "kafka+ssl"):
            with pytest.raises(EngineUnusable, match="REELGRAPH_BUS_URL=") as refused:
                await backends.verify("REELGRAPH_BUS_URL", wrong.replace("kafka:", f"{scheme}:"), SCHEMES)
            assert "wrong-secret" not in str(refused.value)
            assert ("refuses the user" in str(refused.value)) is (scheme == "kafka")
        with pytest.raises(EngineUnusable, match="unreachable"):
            await kafka.open("kafka://127.0.0.1:1", CLOCK)


class TestBackpressure:
    async def test_an_application_that_does_not_ask_is_sent_a_bounded_number(
        self, bus: Bus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kafka_member, "CHUNK", 100)
        await bus.publish([make(i, i) for i in range(1, 2001)])
        async with bus.consumer(GROUP, ["account"]) as consumer:
            first = await self._some(consumer, 10)
            await asyncio.sleep(1.0)
            assert isinstance(consumer, KafkaGroupConsumer)
            assert len(first) == 10
            assert consumer.waiting == 90
            second = await consumer.poll(90, 1.0)
            assert len(second) == 90
            await asyncio.sleep(1.0)
            assert consumer.waiting <= 100
            rest = [d.record.event_id for d in (*first, *second)]
            while len(rest) < 2000:
                rest += [d.record.event_id for d in await consumer.poll(500, 1.0)]
        assert sorted(rest) == list(range(1, 2001))

    async def _some(self, consumer: Consumer, limit: int) -> Sequence[Delivery]:
        while not (found := await consumer.poll(limit, 1.0)):
            pass
        return found


class TestReplay:
    async def test_offsets_of_members_at_work_are_moved_and_they_read_again(self, url: str, bus: Bus) -> None:
        other = await kafka.open(url, CLOCK)
        await bus.publish([make(i, i) for i in range(1, 101)])
        seen: list[int] = []

        async def read(some: Bus) -> None:
            async with some.consumer(GROUP, ["account"]) as consumer:
                while True:
                    batch = await consumer.poll(10, 0.2)
                    seen.extend(d.record.event_id for d in batch)
                    with suppress(Fenced):
                        await consumer.commit(batch)

        async with asyncio.timeout(60), running(*(asyncio.create_task(read(some)) for some in (bus, other))):
            await caught_up(bus, GROUP, ["account"], CLOCK, 30)
            assert sorted(seen) == list(range(1, 101))
            tool = await kafka.open(url, CLOCK)
            async with tool.consumer(GROUP, ["account"]) as consumer:
                await consumer.seek(dict.fromkeys(await tool.ends(["account"]), 0))
            await tool.close()
            while len(seen) < 200:
                await asyncio.sleep(0.05)
            await caught_up(bus, GROUP, ["account"], CLOCK, 30)
        assert sorted(set(seen)) == list(range(1, 101))
        await other.close()

    async def test_a_group_without_members_is_moved(self, bus: Bus) -> None:
        await bus.publish([make(i, 1) for i in range(1, 6)])
        async with bus.consumer(GROUP, ["account"]) as consumer:
            await consumer.seek(await bus.ends(["account"]))
        assert await bus.lag(GROUP, ["account"]) == 0
        async with bus.consumer(GROUP, ["account"]) as consumer:
            await consumer.seek(dict.fromkeys(await bus.ends(["account"]), 0))
        assert await bus.lag(GROUP, ["account"]) == 5

    async def test_a_group_with_members_is_not_dropped(self, bus: Bus) -> None:
        async with bus.consumer(GROUP, ["account"]) as consumer:
            await consumer.poll(1, 0)
            with pytest.raises(ValueError, match="has members"):
                await bus.drop_group(GROUP)


class TestWorkers:
    def worker(self, bus: Bus, handler: Handled) -> EventWorker:
        return EventWorker(bus, GROUP, ["engagement"], handler, CLOCK, attempts=2, backoff=Backoff(0.001, 0.01))

    async def test_dead_letters_hold_back_their_entity_over_restarts_and_are_retried(self, url: str, bus: Bus) -> None:
        handler = Handled(2)
        await bus.publish([liked_record(1, video=10), liked_record(2, video=20), liked_record(3, video=30)])
        async with running(asyncio.create_task(self.worker(bus, handler).run())):
            await caught_up(bus, GROUP, ["engagement"], CLOCK, 20)
        await bus.publish([liked_record(4, video=20), liked_record(5, video=30)])
        again = await kafka.open(url, CLOCK)
        async with running(asyncio.create_task(self.worker(again, handler).run())):
            await caught_up(again, GROUP, ["engagement"], CLOCK, 20)
        assert sorted(handler.ids) == [1, 3, 5]
        letters = await again.dead_letters(GROUP)
        assert [letter.delivery.record.event_id for letter in letters] == [2, 4]
        assert letters[0].error == "ValueError: cannot handle 2"
        handler.broken.clear()
        retried = await retry_dead_letters(again, GROUP, handler)
        assert (retried.handled, retried.left) == (2, 0)
        assert await bus.dead_letters(GROUP) == []
        await again.close()

    async def test_letters_of_many_groups_share_a_partition_and_nothing_else(self, bus: Bus) -> None:
        await bus.publish([make(1, 1)])
        async with bus.consumer(GROUP, ["account"]) as consumer:
            (delivery,) = await consumer.poll(1, 5.0)
        groups = [f"g{i}" for i in range(3 * PARTITIONS)]
        await asyncio.gather(*(bus.bury(group, delivery, group) for group in groups))
        await bus.drop_group(groups[0])
        assert await bus.dead_letters(groups[0]) == []
        for group in groups[1:]:
            assert [letter.error for letter in await bus.dead_letters(group)] == [group]


class TestClosing:
    async def test_a_closed_bus_sends_its_consumers_away(self, url: str) -> None:
        bus = await kafka.open(url, CLOCK)
        async with AsyncExitStack() as stack:
            consumer = await stack.enter_async_context(bus.consumer(GROUP, ["account"]))
            await consumer.poll(1, 0)
            waiting = asyncio.create_task(consumer.poll(1, 60.0))
            await asyncio.sleep(0)
            await asyncio.wait_for(bus.close(), 20)
            for use in (waiting, consumer.poll(1, 60.0), bus.ends(["account"]), bus.dead_letters(GROUP)):
                with pytest.raises(AppError) as closed:
                    await asyncio.wait_for(use, 20)
                assert closed.value.reason is Reason.UNAVAILABLE

    async def test_a_cancelled_poll_loses_nothing(self, bus: Bus) -> None:
        async with bus.consumer(GROUP, ["account"]) as consumer:
            await consumer.poll(1, 0)
            waiting = asyncio.create_task(consumer.poll(100, 60.0))
            await asyncio.sleep(0.1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await bus.publish([make(i, i) for i in range(1, 11)])
            found: list[Delivery] = []
            async with asyncio.timeout(20):
                while len(found) < 10:
                    found += await consumer.poll(100, 1.0)
            await consumer.commit(found)
        assert await bus.lag(GROUP, ["account"]) == 0

    def test_it_works_on_uvloop_and_leaves_no_thread(self) -> None:
        """In a process of its own, whose threads can be counted."""
        code = UVLOOP.format(url=os.environ.get("REELGRAPH_TEST_KAFKA_URL") or server_url("kafka"))
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout.splitlines()[-1:] == ["10 ['MainThread']"], done.stderr[-2000:]


UVLOOP = """
import asyncio, threading, uvloop
from svc_kit.bus import kafka
from svc_kit.bus.port import Record
from svc_kit.clock import SystemClock
from tests.support.kafka import kafka_url

async def main():
    async with kafka_url("{url}") as url:
        bus = await kafka.open(url, SystemClock())
        await bus.publish([Record("account", i, i, "e", b"x") for i in range(10)])
        found = []
        async with bus.consumer("g", ["account"]) as consumer:
            while len(found) < 10:
                found += await consumer.poll(100, 1.0)
            await consumer.commit(found)
            await bus.bury("g", found[0], "broken")
        await bus.close()
    return len(found)

count = uvloop.run(main())
print(count, [t.name for t in threading.enumerate()])
"""
