"""What tests of the Kafka bus share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from svc_kit.bus.port import Record
from svc_kit.bus.runner import Envelope


def make(event_id: int, key: int) -> Record:
    """An event that no handler decodes."""
    return Record("account", key, event_id, f"account:{key}", b"payload")


@asynccontextmanager
async def running(*work: asyncio.Task[None]) -> AsyncIterator[None]:
    """Cancel tasks at the end."""
    try:
        yield
    finally:
        for task in work:
            task.cancel()
        for task in work:
            with suppress(asyncio.CancelledError):
                await task


class Handled:
    """A handler that fails on some events, and remembers the others."""

    def __init__(self, *broken: int) -> None:
        self.broken = set(broken)
        self.ids: list[int] = []

    async def handle(self, batch: Sequence[Envelope]) -> None:
        if bad := self.broken & {envelope.event.id for envelope in batch}:
            raise ValueError(f"cannot handle {min(bad)}")
        self.ids += [envelope.event.id for envelope in batch]
