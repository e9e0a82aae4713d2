"""The bus on Kafka: for each of our topics one of theirs, and one more for dead letters.

kafka-python blocks, so it runs on threads of its own: one publishes, one asks about groups and offsets, one reads dead
letters, and each consumer has one (the driver adds one more to each client). Topics are made by `migrate` alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from kafka.errors import KafkaError

from svc_kit.backends import MIGRATE_S, EngineUnusable
from svc_kit.bus import kafka_admin
from svc_kit.bus.kafka_admin import Admin
from svc_kit.bus.kafka_config import KafkaSettings, settings_of
from svc_kit.bus.kafka_consumer import KafkaGroupConsumer
from svc_kit.bus.kafka_letters import DeadLetters
from svc_kit.bus.kafka_producer import Publisher
from svc_kit.bus.kafka_wire import message_of
from svc_kit.bus.layout import check_records, check_topics, positions_of
from svc_kit.bus.port import TOPICS, Bus, Consumer, DeadLetter, Delivery, Position, Record
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import unavailable

T = TypeVar("T")


async def open(url: str, clock: Clock) -> Bus:
    """Open `kafka://[user:password@]host:port[,host:port]?...` or `kafka+ssl://...`; options as
    `svc_kit.bus.kafka_config.settings_of` has them. Raises `EngineUnusable`, within 5 s."""
    settings = _settings(url)
    return KafkaBus(settings, clock, await asyncio.to_thread(_look, settings, kafka_admin.partitions_found))


async def verify(url: str) -> str:
    """See `svc_kit.backends`."""
    return await asyncio.to_thread(_look, _settings(url), kafka_admin.describe)


async def migrate(url: str) -> str:
    """Make the topics that are missing, with `partitions`, `replication` and `retention_hours` of the URL."""

    def work(client: Any, settings: KafkaSettings) -> str:
        kafka_admin.make_topics(client, settings)
        return kafka_admin.describe(client, settings)

    # Making a few hundred partitions may take a broker longer than anything else that is asked of it.
    return await asyncio.to_thread(_look, replace(_settings(url), timeout_s=MIGRATE_S / 2), work)


def _settings(url: str) -> KafkaSettings:
    try:
        return settings_of(url)
    except ValueError as error:
        raise EngineUnusable(str(error)) from error


def _look(settings: KafkaSettings, question: Callable[[Any, KafkaSettings], T]) -> T:
    client = kafka_admin.connected(settings)
    try:
        return question(client, settings)
    except KafkaError as error:
        raise EngineUnusable(f"the broker answers {type(error).__name__}") from error
    finally:
        with contextlib.suppress(Exception):
            client.close()


class KafkaBus:
    """See `svc_kit.bus.port.Bus`. A record that is published twice is in the log twice."""

    def __init__(self, settings: KafkaSettings, clock: Clock, partitions: int) -> None:
        self._settings = settings
        self._clock = clock
        self._partitions = partitions
        self._names = {topic: settings.topic(topic) for topic in TOPICS}
        self._publisher = Publisher(settings)
        self._admin = Admin(settings)
        self._letters = DeadLetters(settings, self._publisher, partitions)
        self._members: set[KafkaGroupConsumer] = set()
        self._closed = False

    @property
    def partitions(self) -> int:
        return self._partitions

    async def publish(self, records: Sequence[Record]) -> None:
        check_records(records)
        if records:
            names, partitions = self._names, self._partitions
            await self._publisher.send([message_of(record, names[record.topic], partitions) for record in records])

    @asynccontextmanager
    async def consumer(self, group: str, topics: Sequence[str]) -> AsyncIterator[Consumer]:
        check_topics(topics)
        await self._admin.ask(kafka_admin.enrol(group, positions_of(topics, self._partitions)))
        consumer = KafkaGroupConsumer(self._settings, self._clock, group, topics, self._partitions)
        self._members.add(consumer)
        try:
            await consumer.open()
            yield consumer
        finally:
            self._members.discard(consumer)
            await asyncio.shield(consumer.close())

    async def groups(self) -> Mapping[str, Sequence[str]]:
        return await self._admin.ask(kafka_admin.groups)

    async def drop_group(self, group: str) -> None:
        answer = await self._admin.ask(kafka_admin.drop_group(group))
        if answer == "NonEmptyGroupError":
            raise ValueError(f"group {group} has members: stop them first")
        if answer not in ("OK", "GroupIdNotFoundError"):
            raise unavailable(f"The event bus could not drop {group}.")
        await self._letters.forget_group(group)

    async def ends(self, topics: Sequence[str]) -> Mapping[Position, int]:
        return await self._admin.ask(kafka_admin.ends(positions_of(topics, self._partitions)))

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        return await self._admin.ask(kafka_admin.lag(group, positions_of(topics, self._partitions)))

    async def bury(self, group: str, delivery: Delivery, error: str) -> None:
        await self._letters.bury(DeadLetter(group, delivery, error, now_ms(self._clock)))

    async def dead_letters(self, group: str, limit: int = 1000) -> Sequence[DeadLetter]:
        return await self._letters.of_group(group, limit)

    async def forget(self, letters: Sequence[DeadLetter]) -> None:
        await self._letters.forget(letters)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*(member.close() for member in self._members))
        await asyncio.gather(self._publisher.close(), self._letters.close(), self._admin.close())
