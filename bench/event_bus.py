"""Events to Kafka and through a consumer group, against kafka-python alone with the same records and settings.

    python -m bench.event_bus [EVENTS]

`REELGRAPH_TEST_KAFKA_URL` names the broker. Both sides publish in batches of 500, each durable before the next, as the
outbox relay does, and read in batches of 500, each committed before the next. Rounds alternate, and each side shows its
best one: what else runs on a machine only slows a round down. CPU is this process's alone, without the broker's.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop
from kafka import KafkaConsumer, KafkaProducer

from svc_kit.bus.kafka import open as open_kafka
from svc_kit.bus.kafka_config import KafkaSettings, settings_of
from svc_kit.bus.kafka_producer import producer_configs
from svc_kit.bus.kafka_reading import consumer_configs
from svc_kit.bus.kafka_wire import HEADER
from svc_kit.bus.layout import partition_of
from svc_kit.bus.port import Bus, Record
from svc_kit.clock import SystemClock
from tests.support.kafka import kafka_url
from tests.svc_kit.bus.support import liked_record

BATCH = 500
ROUNDS = 9
TOPIC = "engagement"


@dataclass
class Spent:
    """Seconds on the clock and of CPU, a round each."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, wall: float, cpu: float) -> None:
        """One more round."""
        self.wall.append(wall)
        self.cpu.append(cpu)


def events(count: int) -> list[Record]:
    """Likes of 5,000 people."""
    return [liked_record(i, user=i * 7919 % 5000, video=i % 300) for i in range(1, count + 1)]


def batches(records: Sequence[Record]) -> list[Sequence[Record]]:
    """In order."""
    return [records[i : i + BATCH] for i in range(0, len(records), BATCH)]


def produce_alone(producer: Any, settings: KafkaSettings, partitions: int, records: Sequence[Record]) -> None:
    """kafka-python, the same keys, values, headers and partitions."""
    topic = settings.topic(TOPIC)
    for batch in batches(records):
        futures = [
            producer.send(
                topic,
                value=record.payload,
                key=record.key.to_bytes(8, "big", signed=True),
                headers=[(HEADER, record.event_id.to_bytes(8, "big", signed=True) + record.entity.encode())],
                partition=partition_of(record.key, partitions),
            )
            for record in batch
        ]
        for future in futures:
            future.get(10)


def consume_alone(settings: KafkaSettings, group: str, count: int) -> Callable[[], None]:
    """kafka-python, joined and with its first record."""
    configs = consumer_configs(settings) | {"group_id": settings.group(group)}
    consumer = KafkaConsumer(settings.topic(TOPIC), **configs)
    while not consumer.poll(10_000, max_records=1):
        pass

    def work() -> None:
        found = 1
        while found < count:
            records = consumer.poll(1000, max_records=BATCH)
            found += sum(map(len, records.values()))
            consumer.commit()
        consumer.close()

    return work


@asynccontextmanager
async def measured(spent: Spent) -> AsyncIterator[None]:
    """Add what the block takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    spent.add(time.perf_counter() - wall, time.process_time() - cpu)


async def publish_ours(bus: Bus, records: Sequence[Record]) -> None:
    """Through the port."""
    for batch in batches(records):
        await bus.publish(batch)


async def consume_ours(bus: Bus, group: str, count: int, spent: Spent) -> None:
    """Through the port."""
    async with bus.consumer(group, [TOPIC]) as consumer:
        while not await consumer.poll(1, 0.1):
            pass
        async with measured(spent):
            found = 1
            while found < count:
                deliveries = await consumer.poll(BATCH, 1.0)
                found += len(deliveries)
                await consumer.commit(deliveries)


def report(what: str, count: int, ours: Spent, alone: Spent) -> None:
    """One row."""
    rates = " ".join(
        f"{name} {count / min(it.wall):7,.0f}/s, CPU {min(it.cpu) / count * 1e6:5.1f} us each;"
        for name, it in (("ours", ours), ("kafka-python", alone))
    )
    print(f"{what:<8} {rates} time {min(ours.wall) / min(alone.wall):.2f}x, CPU {min(ours.cpu) / min(alone.cpu):.2f}x")


async def main(count: int) -> None:
    """Measure both ways."""
    records = events(count)
    sent, sent_alone, read, read_alone = Spent(), Spent(), Spent(), Spent()
    async with kafka_url(os.environ["REELGRAPH_TEST_KAFKA_URL"], partitions=12) as url:
        settings, bus = settings_of(url), await open_kafka(url, SystemClock())
        producer = await asyncio.to_thread(KafkaProducer, **producer_configs(settings))
        await publish_ours(bus, records[:BATCH])
        await asyncio.to_thread(produce_alone, producer, settings, bus.partitions, records[:BATCH])
        for _ in range(ROUNDS):
            async with measured(sent):
                await publish_ours(bus, records)
            async with measured(sent_alone):
                await asyncio.to_thread(produce_alone, producer, settings, bus.partitions, records)
        for number in range(ROUNDS):
            await consume_ours(bus, f"ours-{number}", count, read)
            work = await asyncio.to_thread(consume_alone, settings, f"alone-{number}", count)
            async with measured(read_alone):
                await asyncio.to_thread(work)
        await asyncio.to_thread(producer.close)
        await bus.close()
    print(f"{count} events of about {len(records[0].payload)} bytes, batches of {BATCH}, best of {ROUNDS} rounds")
    report("publish", count, sent, sent_alone)
    report("consume", count, read, read_alone)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000))
