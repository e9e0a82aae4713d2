"""Kafka in tests: topics of one test's own, gone afterwards."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from svc_kit.bus import kafka
from svc_kit.bus.kafka_admin import connected
from svc_kit.bus.kafka_config import DEAD_LETTERS, KafkaSettings, settings_of
from svc_kit.bus.port import TOPICS

PARTITIONS = 4


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
    client = connected(settings)
    try:
        client.delete_topics([settings.topic(name) for name in (*TOPICS, DEAD_LETTERS)], raise_errors=False)
        if groups := [it["group_id"] for it in client.list_groups() if it["group_id"].startswith(settings.prefix)]:
            client.delete_groups(groups)
    finally:
        client.close()
