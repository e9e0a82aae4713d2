"""What is asked of the brokers besides records: topics, groups, offsets. Blocking calls on one thread."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition
from kafka import errors as driver
from kafka.admin import OffsetSpec

from svc_kit.backends import EngineUnusable
from svc_kit.bus.kafka_config import (
    DEAD_LETTERS,
    MAX_MESSAGE_BYTES,
    CannotConnect,
    KafkaSettings,
    as_unavailable,
    connect,
)
from svc_kit.bus.port import TOPICS, Position
from svc_kit.errors import unavailable

T = TypeVar("T")

DEFAULT_PARTITIONS = 12
OLDEST_VERSION = (2, 5)
"""The first whose producers come back from a lost sequence number without losing order."""
MAX_WAITING = 256
RETRY_S = 0.1


class Admin:
    """Asks the brokers; one question at a time, each within `timeout_s`. Raises UNAVAILABLE."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, "kafka-admin")
        self._client: Any = None
        self._waiting = 0
        self._closed = False

    async def ask(self, question: Callable[[Any, KafkaSettings], T]) -> T:
        """The answer to one of this module's functions."""
        if self._closed:
            raise unavailable("The event bus is closed.")
        if self._waiting >= MAX_WAITING:
            raise unavailable("The event bus can't keep up.")
        self._waiting += 1
        try:
            asked = asyncio.get_running_loop().run_in_executor(self._thread, self._ask, question)
            async with asyncio.timeout(2 * self._settings.timeout_s):
                return await asked
        except (driver.KafkaError, CannotConnect, TimeoutError, OSError, RuntimeError) as error:
            raise as_unavailable(error, question.__name__) from error
        finally:
            self._waiting -= 1

    def _ask(self, question: Callable[[Any, KafkaSettings], T]) -> T:
        until = time.monotonic() + self._settings.timeout_s
        while True:
            try:
                return self._ask_once(question)
            except (driver.RetriableError, RuntimeError):
                # The client remembers where groups were coordinated, and does not look again.
                self._let_go()
                if time.monotonic() + RETRY_S > until:
                    raise
                time.sleep(RETRY_S)

    def _ask_once(self, question: Callable[[Any, KafkaSettings], T]) -> T:
        if self._client is None:
            self._client = connect(KafkaAdminClient, self._settings.client("admin"))
        return question(self._client, self._settings)

    def _let_go(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                client.close()

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        if not self._closed:
            self._closed = True
            closing = asyncio.get_running_loop().run_in_executor(self._thread, self._let_go)
            self._thread.shutdown(wait=False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.timeout_s):
                    await closing


def connected(settings: KafkaSettings) -> Any:
    """An admin client of a broker that is new enough. Raises `EngineUnusable`; blocks for 4 s at most."""
    where = ", ".join(settings.servers)
    try:
        client = connect(KafkaAdminClient, settings.client("admin"))
    except CannotConnect as error:
        if error.spoke and settings.user:
            raise EngineUnusable(
                f"{where} refuses the user {settings.user}: wrong password, or not by {settings.mechanism}"
            ) from error
        if error.spoke:
            raise EngineUnusable(f"{where} closes the connection: it wants a user, or TLS") from error
        raise EngineUnusable(f"{where} is unreachable, or speaks another protocol") from error
    try:
        _check_version(client)
    except BaseException:
        client.close()
        raise
    return client


def _check_version(client: Any) -> None:
    version = version_of(client)
    if version < OLDEST_VERSION:
        raise EngineUnusable(f"the broker is Kafka {_shown(version)}; {_shown(OLDEST_VERSION)} or newer is needed")


def version_of(client: Any) -> tuple[int, ...]:
    """The broker's version."""
    brokers = client.describe_cluster()["brokers"]
    return min(tuple(client.get_broker_version_data(broker["broker_id"]).broker_version) for broker in brokers[:1])


def _shown(version: Sequence[int]) -> str:
    return ".".join(map(str, version))


def partitions_found(client: Any, settings: KafkaSettings) -> int:
    """How many partitions all topics have. Raises `EngineUnusable` where one is missing or differs."""
    names = [settings.topic(name) for name in (*TOPICS, DEAD_LETTERS)]
    found = {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics(names)}
    if missing := [name for name in names if not found.get(name)]:
        raise EngineUnusable(f"{len(missing)} topics are missing, such as {missing[0]}: run `reelgraph migrate`")
    numbers = {found[name] for name in names}
    if len(numbers) > 1:
        odd = ", ".join(f"{name} has {found[name]}" for name in names)
        raise EngineUnusable(f"the topics have different numbers of partitions: {odd}")
    (number,) = numbers
    if settings.partitions not in (0, number):
        raise EngineUnusable(f"partitions={settings.partitions}: the topics were made with {number}, and that is fixed")
    return number


def describe(client: Any, settings: KafkaSettings) -> str:
    """What there is, for an operator."""
    brokers = len(client.describe_cluster()["brokers"])
    partitions = partitions_found(client, settings)
    return f"Kafka {_shown(version_of(client))}, brokers: {brokers}, topics: {len(TOPICS)} of {partitions} partitions"


def make_topics(client: Any, settings: KafkaSettings) -> None:
    """Make the topics that are not there. Harmless when two do it at once."""
    names = {settings.topic(name): name for name in (*TOPICS, DEAD_LETTERS)}
    there = {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics(list(names))}
    number = settings.partitions or max(there.values()) or DEFAULT_PARTITIONS
    configs = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    if settings.replication >= 3:
        configs["min.insync.replicas"] = "2"
    kept = {"retention.ms": str(int(settings.retention_hours * 3_600_000))} if settings.retention_hours else {}
    special = {DEAD_LETTERS: {"cleanup.policy": "compact"}}
    new = {
        full: {
            "num_partitions": number,
            "replication_factor": settings.replication,
            "configs": configs | special.get(name, kept),
        }
        for full, name in names.items()
        if not there.get(full)
    }
    if new:
        with contextlib.suppress(driver.TopicAlreadyExistsError):
            client.create_topics(new)
        client.wait_for_topics(list(new))
        # Known is not yet led: the first to ask would be told to go elsewhere.
        first = {TopicPartition(name, part): OffsetSpec.LATEST for name in new for part in range(number)}
        client.list_partition_offsets(first)


def ends(positions: Sequence[Position]) -> Callable[[Any, KafkaSettings], Mapping[Position, int]]:
    """Question: the next offset of each partition."""

    def ends(client: Any, settings: KafkaSettings) -> Mapping[Position, int]:
        asked = {TopicPartition(settings.topic(topic), part): (topic, part) for topic, part in positions}
        found = client.list_partition_offsets(dict.fromkeys(asked, OffsetSpec.LATEST)) if asked else {}
        return {asked[partition]: it.offset for partition, it in found.items()}

    return ends


def lag(group: str, positions: Sequence[Position]) -> Callable[[Any, KafkaSettings], int]:
    """Question: how many records of the partitions the group has yet to commit."""

    def lag(client: Any, settings: KafkaSettings) -> int:
        partitions = [TopicPartition(settings.topic(topic), part) for topic, part in positions]
        committed = _committed(client, settings.group(group), partitions)
        found = client.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST)) if partitions else {}
        ahead = {p: it.offset for p, it in found.items() if it.offset > committed.get(p, 0)}
        # What retention has removed is not ahead of anybody.
        first = client.list_partition_offsets(dict.fromkeys(ahead, OffsetSpec.EARLIEST)) if ahead else {}
        return sum(max(0, end - max(committed.get(p, 0), first[p].offset)) for p, end in ahead.items())

    return lag


def _committed(client: Any, group: str, partitions: Sequence[TopicPartition] | None) -> dict[TopicPartition, int]:
    found = client.list_group_offsets({group: partitions})[group]
    return {partition: it.offset for partition, it in found.items() if it.offset >= 0}


def enrol(group: str, positions: Sequence[Position]) -> Callable[[Any, KafkaSettings], None]:
    """Question: let the group begin at the oldest record wherever it has no offset, so that it and its topics are
    known from now on."""

    def enrol(client: Any, settings: KafkaSettings) -> None:
        partitions = [TopicPartition(settings.topic(topic), part) for topic, part in positions]
        known = _committed(client, settings.group(group), partitions)
        new = {partition: OffsetAndMetadata(0, "", -1) for partition in partitions if partition not in known}
        # Refused where the group has members: then those have made it known.
        client.alter_group_offsets(settings.group(group), new)

    return enrol


def groups(client: Any, settings: KafkaSettings) -> Mapping[str, Sequence[str]]:
    """Question: all groups of ours, and their topics."""
    ours = {settings.topic(name): name for name in TOPICS}
    names = sorted(it["group_id"] for it in client.list_groups() if it["group_id"].startswith(settings.prefix))
    found: dict[str, Sequence[str]] = {}
    for name in names:
        topics = {ours[it.topic] for it in _committed(client, name, None) if it.topic in ours}
        if topics:
            found[name.removeprefix(settings.prefix)] = sorted(topics)
    return found


def drop_group(group: str) -> Callable[[Any, KafkaSettings], str]:
    """Question: remove the group and its offsets; the name of the driver's error, or `OK`."""

    def drop_group(client: Any, settings: KafkaSettings) -> str:
        name = settings.group(group)
        return str(dict(client.delete_groups([name]))[name])

    return drop_group
