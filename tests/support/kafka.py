"""Kafka in tests: topics of one test's own, gone afterwards."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from svc_kit.bus import kafka
from svc_kit.bus.kafka_admin import connected
from svc_kit.bus.kafka_config import KafkaSettings, settings_of

PARTITIONS = 4
AT_ONCE = 12


@asynccontextmanager
async def kafka_url(server: str, partitions: int = PARTITIONS) -> AsyncIterator[str]:
    """A URL with migrated topics of its own. Silent members are found out fast."""
    place = server.partition("?")[0]
    url = f"{place}?partitions={partitions}&prefix=test-{uuid.uuid4().hex}.&session_s=3&hold_s=5"
    await kafka.migrate(url)
    try:
        yield url
    finally:
        await asyncio.to_thread(_remove, settings_of(url))


def _remove(settings: KafkaSettings) -> None:
    remove_topics(settings, lambda name: name.startswith(settings.prefix))


def remove_topics(settings: KafkaSettings, chosen: Callable[[str], bool]) -> None:
    """Remove topics and groups that are chosen by name: a small broker's controller takes in all of them at each start,
    and looks through all of them at each change. Blocks."""
    client = connected(settings)
    try:
        topics = [name for name in client.list_topics() if chosen(name)]
        for start in range(0, len(topics), AT_ONCE):
            client.delete_topics(topics[start : start + AT_ONCE], raise_errors=False)
        if groups := [found["group_id"] for found in client.list_groups() if chosen(found["group_id"])]:
            client.delete_groups(groups)
    finally:
        client.close()
