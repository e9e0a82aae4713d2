"""The port of the event bus. Every adapter passes `tests/contract/test_bus.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

TOPICS = ("account", "follow", "block", "engagement", "moderation", "video", "live", "watch", "feed", "model", "viewer")
"""All topics. An event's topic is the first word of its body field."""


class Record(NamedTuple):
    """One event on its way to the bus. A tuple, as is `Delivery`: tens of thousands a second are made of each."""

    topic: str
    key: int
    """The actor's id: records of one key within a topic keep their order."""
    event_id: int
    entity: str
    payload: bytes
    """A serialised `reelgraph.events.v1.Event`, at most 1 MiB."""


class Delivery(NamedTuple):
    """One record as a consumer got it."""

    record: Record
    partition: int
    offset: int
    """Grows within (topic, partition); gaps are allowed."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that a group could not handle, or that waits behind such a one of its entity."""

    group: str
    delivery: Delivery
    error: str
    buried_at_ms: int


Position = tuple[str, int]
"""A topic and a partition."""


class Consumer(Protocol):
    """One member of a consumer group. Not safe for concurrent use."""

    @property
    def epoch(self) -> int:
        """Changes whenever the partitions of this member do, or where they go on; what was remembered of them may
        be stale then."""
        ...

    async def poll(self, limit: int, wait_s: float) -> Sequence[Delivery]:
        """Up to `limit` deliveries after what this member has polled, in offset order within each partition;
        waits up to `wait_s` seconds for the first. Polled is not committed: after a crash they come again."""
        ...

    async def commit(self, deliveries: Sequence[Delivery]) -> None:
        """Mark these, and all before them in their partitions, as handled by the group. Durable on return.
        Raises `Fenced` when another member holds one of the partitions by now, or the group was moved there; the
        others are marked all the same, or come again."""
        ...

    async def seek(self, offsets: Mapping[Position, int]) -> None:
        """Move the group's committed offsets: the next delivery of each partition is the first at or above its
        offset."""
        ...


class Fenced(Exception):
    """Another member of the group owns the partition: what was polled will be delivered there."""


class Bus(Protocol):
    """A durable log in partitions, read by consumer groups, at least once.

    - Records of one (topic, key) go to one partition, in the order published; the number of partitions is fixed
      at creation.
    - A new group begins at the oldest record.
    - A record is delivered to one member of each group; a member's partitions are its alone.
    - The same event id may be in the log twice (a relay that died between publishing and marking): consumers are
      idempotent.
    """

    @property
    def partitions(self) -> int:
        """How many partitions each topic has."""
        ...

    async def publish(self, records: Sequence[Record]) -> None:
        """Append, in order for each (topic, key). Durable on return. Raises `svc_kit.errors.AppError` UNAVAILABLE
        when the bus can't take them now, within a bounded time; then some may be in the log all the same, and
        publishing all of them again repeats those."""
        ...

    def consumer(self, group: str, topics: Sequence[str]) -> AbstractAsyncContextManager[Consumer]:
        """Join `group` for `topics`; leaving the context leaves the group."""
        ...

    async def groups(self) -> Mapping[str, Sequence[str]]:
        """All groups that ever had a member: name -> the topics that it reads, both in order."""
        ...

    async def drop_group(self, group: str) -> None:
        """Forget a group without members, its offsets and dead letters: one that stays away would hold up retention
        for ever."""
        ...

    async def ends(self, topics: Sequence[str]) -> Mapping[Position, int]:
        """For each partition, the offset that the next record will have at least."""
        ...

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        """Records that the group has not committed yet, over all partitions of `topics`."""
        ...

    async def bury(self, group: str, delivery: Delivery, error: str) -> None:
        """Put a delivery into the group's dead-letter queue. Durable on return; burying the same one again
        changes nothing."""
        ...

    async def dead_letters(self, group: str, limit: int = 1000) -> Sequence[DeadLetter]:
        """The group's dead letters, oldest first."""
        ...

    async def forget(self, letters: Sequence[DeadLetter]) -> None:
        """Remove dead letters, once they were handled or given up."""
        ...

    async def close(self) -> None:
        """Release everything. Idempotent."""
        ...
