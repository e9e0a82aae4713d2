"""Dead letters in one compacted topic: a letter has a key, and a record of that key without a value removes it.

All letters of a group are in one partition, in the order they were buried. What is left there is known by reading it
to its end; what was read is remembered by key, so that the next reading begins where the last one ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from zlib import crc32

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from svc_kit.bus.kafka_config import DEAD_LETTERS, CannotConnect, KafkaSettings, as_unavailable, connect
from svc_kit.bus.kafka_producer import Publisher
from svc_kit.bus.kafka_reading import consumer_configs, leave
from svc_kit.bus.kafka_wire import letter_group, letter_key, letter_message, letter_of, removal
from svc_kit.bus.port import DeadLetter
from svc_kit.errors import unavailable

READ_S = 60.0
CHUNK = 1000


class DeadLetters:
    """The letters of all groups. One event loop; reads on a thread of its own."""

    def __init__(self, settings: KafkaSettings, publisher: Publisher, partitions: int) -> None:
        self._settings = settings
        self._publisher = publisher
        self._partitions = partitions
        self._topic = settings.topic(DEAD_LETTERS)
        self._reader = _Reader(settings)
        self._thread = ThreadPoolExecutor(1, "kafka-letters")
        self._closed = False

    def _partition(self, group: str) -> int:
        return crc32(group.encode()) % self._partitions

    async def bury(self, letter: DeadLetter) -> None:
        """Add a letter, once."""
        delivery, partition = letter.delivery, self._partition(letter.group)
        key = letter_key(letter.group, (delivery.record.topic, delivery.partition), delivery.offset)
        if not await self._read("has", partition, key):
            await self._publisher.send([letter_message(letter, self._topic, partition)])

    async def of_group(self, group: str, limit: int) -> list[DeadLetter]:
        """At most `limit` letters of a group, oldest first."""
        found: list[DeadLetter] = await self._read("letters", self._partition(group), group, limit)
        return found

    async def forget(self, letters: Sequence[DeadLetter]) -> None:
        """Remove letters."""
        if letters:
            await self._publisher.send([removal(it, self._topic, self._partition(it.group)) for it in letters])

    async def forget_group(self, group: str) -> None:
        """Remove all letters of a group."""
        while letters := await self.of_group(group, CHUNK):
            await self.forget(letters)

    async def _read(self, question: str, partition: int, *arguments: object) -> Any:
        if self._closed:
            raise unavailable("The event bus is closed.")
        ask = getattr(self._reader, question)
        place = TopicPartition(self._topic, partition)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, ask, place, *arguments)
        except (KafkaError, CannotConnect, TimeoutError, OSError) as error:
            raise as_unavailable(error, "reading dead letters") from error

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        if not self._closed:
            self._closed = True
            closing = asyncio.get_running_loop().run_in_executor(self._thread, self._reader.close)
            self._thread.shutdown(wait=False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.timeout_s):
                    await closing


class _Reader:
    """Reads partitions of letters; on one thread."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer: Any = None
        self._next: dict[TopicPartition, int] = {}
        self._live: dict[TopicPartition, dict[bytes, int]] = {}

    def has(self, place: TopicPartition, key: bytes) -> bool:
        """Whether the letter of that key is there."""
        return key in self._catch_up(place)

    def letters(self, place: TopicPartition, group: str, limit: int) -> list[DeadLetter]:
        """At most `limit` letters of a group, oldest first."""
        wanted = self._wanted(place, group, limit)
        found = self._fetch(place, wanted)
        if len(found) < len(wanted):
            # One that was buried twice by two members at once, and compaction kept the second.
            self._next.pop(place)
            wanted = self._wanted(place, group, limit)
            found = self._fetch(place, wanted)
        return found

    def _wanted(self, place: TopicPartition, group: str, limit: int) -> dict[int, bytes]:
        live = self._catch_up(place)
        ours = [(offset, key) for key, offset in live.items() if letter_group(key) == group]
        return dict(sorted(ours)[:limit])

    def _catch_up(self, place: TopicPartition) -> dict[bytes, int]:
        """Keys of all letters that are there now, with their offsets."""
        end = self._connected().end_offsets([place])[place]
        if self._next.get(place, end + 1) > end:  # not read yet, or the topic was made anew
            self._next[place], self._live[place] = 0, {}
        live = self._live[place]
        for raw in self._records(place, self._next[place], end):
            if raw.value is None:
                live.pop(raw.key, None)
            else:
                live.setdefault(raw.key, raw.offset)
        self._next[place] = end
        return live

    def _fetch(self, place: TopicPartition, wanted: dict[int, bytes]) -> list[DeadLetter]:
        if not wanted:
            return []
        records = self._records(place, min(wanted), max(wanted) + 1)
        return [letter_of(raw) for raw in records if wanted.get(raw.offset) == raw.key]

    def _records(self, place: TopicPartition, start: int, end: int) -> Iterator[Any]:
        """Records from offset `start` to before `end`. Raises TimeoutError when they don't come."""
        if start >= end:
            return
        consumer = self._connected()
        consumer.assign([place])
        consumer.seek(place, start)
        until = time.monotonic() + READ_S
        while (consumer.position(place, timeout_ms=self._settings.timeout_ms) or 0) < end:
            if time.monotonic() > until:
                raise TimeoutError("dead letters don't come")
            for raw in consumer.poll(timeout_ms=200, max_records=CHUNK).get(place, ()):
                if raw.offset < end:
                    yield raw

    def _connected(self) -> Any:
        if self._consumer is None:
            self._consumer = connect(KafkaConsumer, consumer_configs(self._settings) | {"group_id": None})
        return self._consumer

    def close(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            leave(consumer)
