"""Port of the archive: what was on the bus, as files that outlive it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ArchivedEvent:
    """One event, as it was on the bus and as columns to ask about."""

    id: int
    topic: str
    partition: int
    offset: int
    type: str
    """The set body field, `watch_recorded`; empty when the payload could not be read."""
    actor_id: int
    entity: str
    entity_version: int
    occurred_at_ms: int
    request_id: str
    body: str
    """The body as JSON with proto's field names; 64-bit integers are strings."""
    payload: bytes
    """The serialised `reelgraph.events.v1.Event`."""


class Archive(Protocol):
    """Events by day (UTC, of `occurred_at_ms`), topic and partition of the bus, in files that are written once.
    Putting the same events again, in batches cut anywhere, adds only what is missing: a bus delivers again after a
    crash, and all of it when a group is moved back."""

    async def put(self, events: Sequence[ArchivedEvent]) -> int:
        """Add those that are not there by day, partition and id; durable on return; how many were added. After a
        failure some are added. Raises UNAVAILABLE."""
        ...

    def read(self, first: date, last: date, topics: Sequence[str] = ()) -> AsyncIterator[ArchivedEvent]:
        """Events of these days (both included), each id once; by day, then topic, then partition, then offset. No
        topics: all. Raises UNAVAILABLE."""
        ...

    async def check(self) -> None:
        """Raise UNAVAILABLE when it can't be written."""
        ...

    async def close(self) -> None:
        """Release everything. Idempotent."""
        ...
