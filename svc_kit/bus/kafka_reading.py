"""kafka-python's consumers as we use them: configured, committing, leaving, and taking over a group to move it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.structs import MemberState

from svc_kit.bus.kafka_assignor import Shares
from svc_kit.bus.kafka_config import MAX_MESSAGE_BYTES, CannotConnect, KafkaSettings, connect
from svc_kit.bus.port import Position

FETCH_BYTES = 8 << 20
"""The driver holds about twice as much for each consumer, at most."""
FETCH_WAIT_MS = 2000
MAX_HEARTBEAT_MS = 2000
LEAVE_S = 2.0
RETRY_S = 0.02


def consumer_configs(settings: KafkaSettings) -> dict[str, Any]:
    """What every consumer is configured with."""
    return settings.client("consumer") | {
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        # A broker answers at once when it has something; a partition that is new to us waits for an answer under way.
        "fetch_max_wait_ms": min(FETCH_WAIT_MS, settings.timeout_ms // 2),
        "fetch_max_bytes": FETCH_BYTES,
        "max_partition_fetch_bytes": MAX_MESSAGE_BYTES,
        "metrics_enabled": False,
    }


def member_configs(
    settings: KafkaSettings, group: str, held: Callable[[], Collection[TopicPartition]], *, takes_all: bool = False
) -> dict[str, Any]:
    """What a member of a group is configured with; `held` says what it holds."""
    session_ms = int(settings.session_s * 1000)
    return consumer_configs(settings) | {
        "group_id": settings.group(group),
        "session_timeout_ms": session_ms,
        "heartbeat_interval_ms": min(MAX_HEARTBEAT_MS, session_ms // 5),
        # So long a group waits for a member that hangs. Our threads don't, whatever the application does.
        "max_poll_interval_ms": int(3000 * max(settings.hold_s, settings.timeout_s)),
        "partition_assignment_strategy": [Shares(held, takes_all=takes_all)],
    }


def write_offsets(consumer: Any, settings: KafkaSettings, offsets: Mapping[Position, int], seconds: float) -> None:
    """Commit, within `seconds`. Raises the driver's errors."""
    marks = {
        TopicPartition(settings.topic(topic), part): OffsetAndMetadata(max(0, offset), "", -1)
        for (topic, part), offset in offsets.items()
    }
    consumer.commit(marks, timeout_ms=int(seconds * 1000))


def leave(consumer: Any) -> None:
    """Leave the group and disconnect, whatever fails."""
    with contextlib.suppress(Exception):
        consumer.close(autocommit=False, timeout_ms=int(LEAVE_S * 1000))
    with contextlib.suppress(Exception):
        consumer._client.close()


def take_over(settings: KafkaSettings, group: str, offsets: Mapping[Position, int]) -> None:
    """Move offsets of partitions that other members hold: a passing member takes all of them, commits, and leaves.
    Blocks for a bounded time. Raises `CannotConnect` or the driver's errors."""
    wanted = {TopicPartition(settings.topic(topic), part) for topic, part in offsets}
    made: list[Any] = []
    configs = member_configs(settings, group, lambda: made[0].assignment(), takes_all=True)
    consumer = connect(KafkaConsumer, configs)
    made.append(consumer)
    try:
        consumer.subscribe(sorted({partition.topic for partition in wanted}))
        until = time.monotonic() + settings.hold_s + 2 * settings.timeout_s
        while not wanted <= consumer.assignment():
            if time.monotonic() > until:
                raise CannotConnect(spoke=True, reason="the group's members do not yield")
            consumer._coordinator.poll(timeout_ms=1000)
            if consumer.group_metadata().state is not MemberState.STABLE:
                consumer._coordinator.request_rejoin()
            time.sleep(RETRY_S)
        write_offsets(consumer, settings, offsets, settings.timeout_s)
    finally:
        leave(consumer)
