"""What every adapter of the bus agrees on: partitions of keys, sizes of records, partitions of members."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from svc_kit.bus.port import TOPICS, Position, Record
from svc_kit.errors import UserCode, invalid

DEFAULT_PARTITIONS = 8
MAX_PAYLOAD_BYTES = 1 << 20


def partition_of(key: int, partitions: int) -> int:
    """The partition of a key: CRC-32 of its 8 big-endian bytes, modulo. Kafka clients call this partitioner
    `consistent`."""
    return zlib.crc32(key.to_bytes(8, "big", signed=True)) % partitions


def check_records(records: Sequence[Record]) -> None:
    """Raise before anything is appended: BAD_USER_INPUT for a payload over 1 MiB, ValueError for an unknown topic."""
    for record in records:
        if len(record.payload) > MAX_PAYLOAD_BYTES:
            message = f"payload: an event has at most {MAX_PAYLOAD_BYTES} bytes, this one {len(record.payload)}."
            raise invalid("payload", message, UserCode.TOO_LARGE)
    check_topics({record.topic for record in records})


def check_topics(topics: Collection[str]) -> None:
    """Raise ValueError for a topic that is not in `TOPICS`."""
    if unknown := sorted(set(topics) - set(TOPICS)):
        raise ValueError(f"topic {', '.join(unknown)}: unknown; valid: {', '.join(TOPICS)}")


def positions_of(topics: Collection[str], partitions: int) -> list[Position]:
    """All partitions of `topics`, sorted."""
    return [(topic, partition) for topic in sorted(set(topics)) for partition in range(partitions)]


def check_positions(positions: Collection[Position], topics: Collection[str], partitions: int) -> None:
    """Raise ValueError for a position outside of `topics` and `partitions`."""
    for topic, partition in positions:
        if topic not in topics or not 0 <= partition < partitions:
            raise ValueError(f"position ({topic}, {partition}): not one of this member's topics and partitions")


def assign(
    members: Mapping[str, Collection[str]], partitions: int, current: Mapping[Position, str]
) -> dict[Position, str]:
    """Who should own what: even shares, and as few moves from `current` as that allows.

    `members` maps a member to its topics. All members compute the same from the same state, so none has to lead.
    """
    positions = positions_of({topic for topics in members.values() for topic in topics}, partitions)
    if not positions:
        return {}
    share, spare = divmod(len(positions), len(members))
    load: Counter[str] = Counter()
    owners: dict[Position, str] = {}
    for position in positions:
        owner = current.get(position, "")
        if owner not in members or position[0] not in members[owner] or load[owner] > share:
            continue
        if load[owner] == share:
            if not spare:
                continue
            spare -= 1
        owners[position] = owner
        load[owner] += 1
    for position in positions:
        if position not in owners:
            able = [member for member in sorted(members) if position[0] in members[member]]
            owners[position] = min(able, key=lambda member: load[member])
            load[owners[position]] += 1
    return owners
