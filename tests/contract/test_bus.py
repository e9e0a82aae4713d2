"""What every adapter of the event bus does."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from svc_kit.bus.layout import MAX_PAYLOAD_BYTES
from svc_kit.bus.port import Bus, Consumer, Delivery, Fenced, Record
from svc_kit.bus.schemes import open_bus
from svc_kit.clock import SystemClock
from svc_kit.errors import AppError, Reason
from tests.support.engines import server_url, servers
from tests.support.kafka import kafka_url

ROOT = Path(__file__).parents[2]
_ids = itertools.count(1)


def make(key: int = 1, topic: str = "account", event_id: int | None = None, payload: bytes = b"payload") -> Record:
    number = next(_ids) if event_id is None else event_id
    return Record(topic, key, number, f"{topic}:{key}", payload)


def ids(deliveries: Sequence[Delivery]) -> list[int]:
    return [delivery.record.event_id for delivery in deliveries]


async def read(consumer: Consumer, count: int) -> list[Delivery]:
    """Exactly `count` deliveries; fails when they don't come."""
    found: list[Delivery] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await consumer.poll(count - len(found), 1.0)
    return found


async def read_all(consumers: Sequence[Consumer], event_ids: set[int]) -> dict[int, list[Delivery]]:
    """Poll in turns until all events came to some of `consumers`; deliveries by the consumer's number."""
    found: dict[int, list[Delivery]] = defaultdict(list)
    async with asyncio.timeout(20):
        while not event_ids <= {event_id for part in found.values() for event_id in ids(part)}:
            for number, consumer in enumerate(consumers):
                found[number] += await consumer.poll(100, 0.02)
    return found


async def nothing_more(consumer: Consumer) -> bool:
    return not await consumer.poll(100, 0)


@dataclass
class Place:
    """Where one test's bus lives."""

    url: str
    durable: bool

    async def open(self) -> Bus:
        return await open_bus(self.url, SystemClock())


@pytest.fixture(params=["memory", "sqlite", *servers("kafka")])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "memory":
        yield Place("memory://?partitions=4", durable=False)
    elif request.param == "sqlite":
        yield Place(f"sqlite:///{tmp_path}/bus.db?partitions=4", durable=True)
    else:
        async with kafka_url(server_url("kafka")) as url:
            yield Place(url, durable=True)


@pytest.fixture
async def bus(place: Place) -> AsyncIterator[Bus]:
    bus = await place.open()
    yield bus
    await bus.close()


@pytest.fixture
def durable(place: Place) -> Place:
    if not place.durable:
        pytest.skip("this bus lives in one process's memory")
    return place


class TestBus:
    async def test_records_of_one_key_come_in_the_order_published(self, bus: Bus) -> None:
        records = [make(key=i % 7) for i in range(70)]
        for start in range(0, 70, 10):
            await bus.publish(records[start : start + 10])
        async with bus.consumer("g", ["account"]) as consumer:
            found = await read(consumer, 70)
        for key in range(7):
            expected = [r.event_id for r in records if r.key == key]
            assert [d.record.event_id for d in found if d.record.key == key] == expected
            assert len({d.partition for d in found if d.record.key == key}) == 1

    async def test_a_record_comes_back_as_it_was_published(self, bus: Bus) -> None:
        record = Record("video", 2**62, 2**62 + 1, "video:ü", bytes(range(256)))
        await bus.publish([record])
        async with bus.consumer("g", ["video"]) as consumer:
            (delivery,) = await read(consumer, 1)
        assert delivery.record == record

    async def test_groups_and_their_topics_are_known_once_they_had_a_member(self, bus: Bus) -> None:
        assert await bus.groups() == {}
        for topics in (["video"], ["follow", "block"]):
            async with bus.consumer("g", topics):
                pass
        async with bus.consumer("f", ["video"]):
            assert await bus.groups() == {"f": ["video"], "g": ["block", "follow", "video"]}

    async def test_a_dropped_group_is_gone_and_would_begin_anew(self, bus: Bus) -> None:
        await bus.publish([make()])
        async with bus.consumer("g", ["account"]) as consumer:
            deliveries = await read(consumer, 1)
            await bus.bury("g", deliveries[0], "broken")
            await consumer.commit(deliveries)

        await bus.drop_group("g")

        assert (await bus.groups(), list(await bus.dead_letters("g"))) == ({}, [])
        assert await bus.lag("g", ["account"]) == 1

    async def test_offsets_grow_within_a_partition(self, bus: Bus) -> None:
        await bus.publish([make(key=i) for i in range(40)])
        async with bus.consumer("g", ["account"]) as consumer:
            found = await read(consumer, 40)
        for partition in range(bus.partitions):
            offsets = [d.offset for d in found if d.partition == partition]
            assert offsets == sorted(set(offsets))

    async def test_a_consumer_gets_its_topics_only(self, bus: Bus) -> None:
        wanted = make(topic="follow")
        await bus.publish([make(topic="account"), wanted, make(topic="video")])
        async with bus.consumer("g", ["follow", "block"]) as consumer:
            assert ids(await read(consumer, 1)) == [wanted.event_id]
            assert await nothing_more(consumer)

    async def test_each_group_gets_every_record_from_the_oldest_on(self, bus: Bus) -> None:
        records = [make() for _ in range(5)]
        await bus.publish(records)
        for group in ("one", "two"):
            async with bus.consumer(group, ["account"]) as consumer:
                found = await read(consumer, 5)
                await consumer.commit(found)
            assert ids(found) == [r.event_id for r in records]

    async def test_what_was_not_committed_comes_again_to_the_next_member(self, bus: Bus) -> None:
        await bus.publish([make() for _ in range(3)])
        async with bus.consumer("g", ["account"]) as consumer:
            first = await read(consumer, 3)
            await consumer.commit(first[:1])
        async with bus.consumer("g", ["account"]) as consumer:
            assert ids(await read(consumer, 2)) == ids(first[1:])

    async def test_polling_goes_on_after_what_was_polled_without_a_commit(self, bus: Bus) -> None:
        records = [make() for _ in range(5)]
        await bus.publish(records)
        async with bus.consumer("g", ["account"]) as consumer:
            found = [await read(consumer, 2), await read(consumer, 3)]
        assert ids(found[0] + found[1]) == [r.event_id for r in records]

    async def test_committing_the_last_of_a_partition_commits_all_before_it(self, bus: Bus) -> None:
        await bus.publish([make() for _ in range(6)])
        async with bus.consumer("g", ["account"]) as consumer:
            found = await read(consumer, 6)
            await consumer.commit(found[-1:])
            await consumer.commit(found[:1])
        assert await bus.lag("g", ["account"]) == 0

    async def test_lag_counts_what_is_not_committed(self, bus: Bus) -> None:
        await bus.publish([make(key=i) for i in range(10)] + [make(topic="video")])
        assert await bus.lag("g", ["account"]) == 10
        assert await bus.lag("g", ["account", "video"]) == 11
        async with bus.consumer("g", ["account"]) as consumer:
            await consumer.commit(await read(consumer, 10))
        assert await bus.lag("g", ["account"]) == 0

    async def test_a_reader_that_reached_the_ends_has_everything(self, bus: Bus) -> None:
        await bus.publish([make(key=i) for i in range(20)])
        ends = await bus.ends(["account"])
        async with bus.consumer("g", ["account"]) as consumer:
            found = await read(consumer, 20)
        for partition in range(bus.partitions):
            last = max((d.offset for d in found if d.partition == partition), default=-1)
            assert last < ends["account", partition]
        assert set(ends) == {("account", partition) for partition in range(bus.partitions)}

    async def test_new_records_wake_a_waiting_consumer(self, bus: Bus) -> None:
        async with bus.consumer("g", ["account"]) as consumer:
            assert await nothing_more(consumer)
            waiting = asyncio.create_task(consumer.poll(10, 60.0))
            await asyncio.sleep(0)
            record = make()
            await bus.publish([record])
            assert ids(await asyncio.wait_for(waiting, 20)) == [record.event_id]

    async def test_seek_replays_from_an_offset(self, bus: Bus) -> None:
        await bus.publish([make() for _ in range(6)])
        async with bus.consumer("g", ["account"]) as consumer:
            first = await read(consumer, 6)
            await consumer.commit(first)
            await consumer.seek({("account", first[0].partition): first[2].offset})
            assert await bus.lag("g", ["account"]) == 4
            assert ids(await read(consumer, 4)) == ids(first[2:])

    async def test_seek_forward_skips(self, bus: Bus) -> None:
        await bus.publish([make() for _ in range(4)])
        async with bus.consumer("g", ["account"]) as consumer:
            assert len(await consumer.poll(1, 5.0)) == 1
            await consumer.seek(await bus.ends(["account"]))
            assert await nothing_more(consumer)
        assert await bus.lag("g", ["account"]) == 0

    async def test_seek_outside_of_the_topics_is_refused(self, bus: Bus) -> None:
        async with bus.consumer("g", ["account"]) as consumer:
            for position in (("video", 0), ("account", bus.partitions), ("account", -1)):
                with pytest.raises(ValueError, match="position"):
                    await consumer.seek({position: 0})

    async def test_two_members_share_the_partitions(self, bus: Bus) -> None:
        async with bus.consumer("g", ["account"]) as one, bus.consumer("g", ["account"]) as two:
            for _ in range(3):
                await one.poll(1, 0)
                await two.poll(1, 0)
            records = [make(key=i) for i in range(40)]
            await bus.publish(records)
            found = await read_all([one, two], {r.event_id for r in records})
        assert found[0] and found[1]
        assert sorted(ids(found[0]) + ids(found[1])) == sorted(r.event_id for r in records)
        assert not {d.partition for d in found[0]} & {d.partition for d in found[1]}

    async def test_the_other_member_takes_over_what_a_leaving_one_did_not_commit(self, bus: Bus) -> None:
        async with AsyncExitStack() as stay, AsyncExitStack() as go:
            one = await stay.enter_async_context(bus.consumer("g", ["account"]))
            two = await go.enter_async_context(bus.consumer("g", ["account"]))
            for _ in range(3):
                await one.poll(1, 0)
                await two.poll(1, 0)
            records = [make(key=i) for i in range(40)]
            await bus.publish(records)
            found = await read_all([one, two], {r.event_id for r in records})
            await one.commit(found[0])
            epoch = one.epoch
            await go.aclose()
            assert sorted(ids(await read(one, len(found[1])))) == sorted(ids(found[1]))
            assert one.epoch != epoch

    async def test_a_member_that_lost_a_partition_cannot_commit_it(self, bus: Bus) -> None:
        await bus.publish([make(key=i) for i in range(40)])
        async with bus.consumer("g", ["account"]) as one:
            before = await read(one, 40)
            async with bus.consumer("g", ["account"]) as two:
                taken: list[Delivery] = []
                async with asyncio.timeout(20):
                    while not taken:
                        await one.poll(100, 0.02)
                        taken = list(await two.poll(100, 0.02))
                with pytest.raises(Fenced):
                    await one.commit(before)
                await two.commit(taken)

    async def test_what_was_polled_before_a_seek_cannot_be_committed(self, bus: Bus) -> None:
        await bus.publish([make() for _ in range(3)])
        async with bus.consumer("g", ["account"]) as consumer:
            found = await read(consumer, 3)
            await consumer.seek({("account", found[0].partition): 0})
            with pytest.raises(Fenced):
                await consumer.commit(found)
            assert ids(await read(consumer, 3)) == ids(found)

    async def test_one_long_partition_does_not_starve_the_others(self, bus: Bus) -> None:
        late = make(key=2, topic="video")
        await bus.publish([make(key=1) for _ in range(200)] + [late])
        async with bus.consumer("g", ["account", "video"]) as consumer:
            found = [event_id for _ in range(5) for event_id in ids(await consumer.poll(10, 5.0))]
        assert late.event_id in found

    async def test_dead_letters_are_kept_in_order_and_once(self, bus: Bus) -> None:
        await bus.publish([make() for _ in range(3)])
        async with bus.consumer("g", ["account"]) as consumer:
            found = await read(consumer, 3)
            for delivery in (found[1], found[0], found[1]):
                await bus.bury("g", delivery, "broken")
        letters = await bus.dead_letters("g")
        assert [(x.group, x.delivery, x.error) for x in letters] == [
            ("g", found[1], "broken"),
            ("g", found[0], "broken"),
        ]
        assert len(await bus.dead_letters("g", 1)) == 1
        assert await bus.dead_letters("another") == []
        await bus.forget(letters[:1])
        assert [x.delivery for x in await bus.dead_letters("g")] == [found[0]]

    async def test_an_event_published_twice_comes_at_least_once_and_in_order(self, bus: Bus) -> None:
        """Whether the log drops the second or keeps it is the adapter's choice."""
        one, two = make(), make()
        await bus.publish([one, two])
        await bus.publish([one])
        async with bus.consumer("g", ["account"]) as consumer:
            found = await read(consumer, 2)
            found += await consumer.poll(10, 0)
            await consumer.commit(found)
        assert ids(found)[:2] == [one.event_id, two.event_id]
        assert set(ids(found)) == {one.event_id, two.event_id}
        assert await bus.lag("g", ["account"]) == 0

    async def test_a_payload_over_one_mebibyte_is_refused_and_nothing_of_its_batch_is_appended(self, bus: Bus) -> None:
        with pytest.raises(AppError) as refused:
            await bus.publish([make(), make(payload=b"x" * (MAX_PAYLOAD_BYTES + 1))])
        assert refused.value.reason is Reason.BAD_USER_INPUT
        assert str(MAX_PAYLOAD_BYTES) in refused.value.message
        await bus.publish([make(payload=b"x" * MAX_PAYLOAD_BYTES)])
        assert await bus.lag("g", ["account"]) == 1

    async def test_unknown_topics_are_refused(self, bus: Bus) -> None:
        with pytest.raises(ValueError, match="weather"):
            await bus.publish([make(topic="weather")])
        with pytest.raises(ValueError, match="weather"):
            async with bus.consumer("g", ["weather"]):
                pass

    async def test_publishers_at_the_same_time_lose_nothing(self, bus: Bus) -> None:
        records = [make(key=i % 11) for i in range(300)]
        await asyncio.gather(*(bus.publish(records[i : i + 3]) for i in range(0, 300, 3)))
        async with bus.consumer("g", ["account"]) as consumer:
            found = await read(consumer, 300)
        assert sorted(ids(found)) == [r.event_id for r in records]

    async def test_a_closed_bus_takes_nothing_and_closes_again(self, bus: Bus) -> None:
        await bus.close()
        await bus.close()
        with pytest.raises(AppError) as closed:
            await bus.publish([make()])
        assert closed.value.reason is Reason.UNAVAILABLE


class TestDurableBus:
    async def test_records_offsets_and_dead_letters_survive_closing(self, durable: Place) -> None:
        bus = await durable.open()
        records = [make() for _ in range(4)]
        await bus.publish(records)
        async with bus.consumer("g", ["account"]) as consumer:
            found = await read(consumer, 4)
            await consumer.commit(found[:2])
            await bus.bury("g", found[0], "broken")
        await bus.close()
        bus = await durable.open()
        async with bus.consumer("g", ["account"]) as consumer:
            assert ids(await read(consumer, 2)) == [r.event_id for r in records[2:]]
        assert [x.delivery for x in await bus.dead_letters("g")] == [found[0]]
        await bus.close()

    async def test_everything_acknowledged_survives_a_killed_publisher(self, durable: Place) -> None:
        acknowledged: set[int] = set()
        for first in (1_000_000_000, 2_000_000_000):
            acknowledged |= await asyncio.to_thread(_publish_until_killed, durable.url, first, 150)
        bus = await durable.open()
        found: set[int] = set()
        async with bus.consumer("g", ["account"]) as consumer:
            async with asyncio.timeout(20):
                while await bus.lag("g", ["account"]):
                    batch = await consumer.poll(1000, 1.0)
                    found |= set(ids(batch))
                    await consumer.commit(batch)
        await bus.close()
        assert len(acknowledged) >= 300
        assert acknowledged <= found


def _publish_until_killed(url: str, first: int, count: int) -> set[int]:
    """Acknowledged ids of a child that was killed after the `count`-th."""
    command = [sys.executable, "-m", "tests.contract.bus_child", url, str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [line for _, line in zip(range(count), child.stdout, strict=False)]
        child.send_signal(signal.SIGKILL)
        # What it said before it died was acknowledged too; its last line may be cut.
        lines += [line for line in child.stdout if line.endswith("\n")]
    assert child.returncode == -signal.SIGKILL
    return {int(line) for line in lines}
