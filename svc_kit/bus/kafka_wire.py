"""Events and dead letters as Kafka records: the value is the event as published, the rest is in headers.

Other consumers of the company read the values as `reelgraph.events.v1.Event` without knowing of the headers. An event
has a single one, for the driver takes longer over a header than over anything else in a record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from svc_kit.bus.layout import partition_of
from svc_kit.bus.port import DeadLetter, Delivery, Position, Record

MAX_ERROR_CHARACTERS = 4000
HEADER = "event"
"""The id (8 bytes, big-endian) and the entity of an event: what consumers need before they decode it."""


class Message(NamedTuple):
    """One record as the producer takes it. Without a value it removes the one of its key (from a compacted topic)."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


def message_of(record: Record, topic: str, partitions: int) -> Message:
    """An event on its way; `topic` is the broker's name."""
    key = record.key
    header = record.event_id.to_bytes(8, "big", signed=True) + record.entity.encode()
    headers = [(HEADER, header)]
    return Message(topic, partition_of(key, partitions), key.to_bytes(8, "big", signed=True), record.payload, headers)


def deliveries_of(position: Position, found: Sequence[Any]) -> list[Delivery]:
    """Consumed records of one partition."""
    topic, partition = position
    # Named tuples' own constructors take twice as long, and this is the hottest loop of a consumer.
    new, integer = tuple.__new__, int.from_bytes
    deliveries = []
    for raw in found:
        try:
            ((_, header),) = raw.headers
            key, event_id = integer(raw.key, "big", signed=True), integer(header[:8], "big", signed=True)
            record = new(Record, (topic, key, event_id, header[8:].decode(), raw.value or b""))
        except (TypeError, ValueError):
            # Not one of ours. Its consumers can't decode it either, and bury it.
            record = Record(topic, 0, 0, "", raw.value or b"")
        deliveries.append(new(Delivery, (record, partition, raw.offset)))
    return deliveries


def letter_key(group: str, position: Position, offset: int) -> bytes:
    """Names a dead letter: the same one buried again has the same key."""
    return f"{group}/{position[0]}/{position[1]}/{offset}".encode()


def letter_group(key: bytes) -> str:
    """The group in a dead letter's key."""
    return key.decode().rsplit("/", 3)[0]


def letter_message(letter: DeadLetter, topic: str, partition: int) -> Message:
    """A dead letter on its way."""
    delivery, record = letter.delivery, letter.delivery.record
    headers = {
        "id": record.event_id,
        "entity": record.entity,
        "key": record.key,
        "error": letter.error[:MAX_ERROR_CHARACTERS],
        "buried_at_ms": letter.buried_at_ms,
    }
    key = letter_key(letter.group, (record.topic, delivery.partition), delivery.offset)
    return Message(topic, partition, key, record.payload, [(name, str(it).encode()) for name, it in headers.items()])


def removal(letter: DeadLetter, topic: str, partition: int) -> Message:
    """Removes a dead letter."""
    delivery = letter.delivery
    key = letter_key(letter.group, (delivery.record.topic, delivery.partition), delivery.offset)
    return Message(topic, partition, key, None, [])


def letter_of(raw: Any) -> DeadLetter:
    """A consumed dead letter."""
    group, topic, partition, offset = raw.key.decode().rsplit("/", 3)
    headers = {name: value.decode() for name, value in raw.headers}
    record = Record(topic, int(headers["key"]), int(headers["id"]), headers["entity"], raw.value)
    delivery = Delivery(record, int(partition), int(offset))
    return DeadLetter(group, delivery, headers["error"], int(headers["buried_at_ms"]))
