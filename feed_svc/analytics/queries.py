"""Reads of the archive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import date, timedelta

from feed_svc.analytics.store import Archive, ArchivedEvent
from svc_kit.clock import Clock, from_ms


class ArchiveQueries:
    """Events of the past, for rebuilding projections and for training."""

    def __init__(self, archive: Archive, clock: Clock) -> None:
        self._archive = archive
        self._clock = clock

    def read_events(self, first: date, last: date, topics: Sequence[str] = ()) -> AsyncIterator[ArchivedEvent]:
        """Events that happened on these days (UTC, both included), each id once."""
        return self._archive.read(first, last, topics)

    async def since(self, at_ms: int, topics: Sequence[str]) -> AsyncIterator[bytes]:
        """Serialised events that happened at or after `at_ms`, each once."""
        # A service whose clock is ahead may have written a little of tomorrow.
        until = self._clock.now().date() + timedelta(days=1)
        async for event in self._archive.read(from_ms(at_ms).date(), until, topics):
            if event.occurred_at_ms >= at_ms:
                yield event.payload
