"""A clock that a test turns by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from bench.simulate.clock import SteppedClock

START = datetime(2027, 1, 1, 12, tzinfo=UTC)


class FakeClock(SteppedClock):
    """Stands still until `advance`; sleepers whose time has come run when the caller next awaits."""

    def __init__(self, start: datetime = START) -> None:
        super().__init__(start)


@asynccontextmanager
async def ticking(clock: FakeClock, step_s: float = 0.05) -> AsyncIterator[None]:
    """Let time run, about fifty times as fast as outside: for what works on in the background by itself."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.001)
            clock.advance(step_s)

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
