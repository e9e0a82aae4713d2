"""Waiting on an event or a clock, whichever is first; growing pauses."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from svc_kit.clock import Clock


async def wait_event(event: asyncio.Event, clock: Clock, seconds: float) -> bool:
    """Wait until `event` is set or `seconds` of `clock` have passed; true when it is set."""
    if event.is_set() or seconds <= 0:
        return event.is_set()
    waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(seconds))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return event.is_set()


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts: double each time up to `most_s`, less up to half by chance: peers must not march
    in step."""

    first_s: float = 0.05
    most_s: float = 5.0

    def delay(self, attempt: int) -> float:
        """Seconds to pause after failed attempt number `attempt`, from 1."""
        whole = min(self.most_s, self.first_s * 2.0 ** min(attempt - 1, 30))
        return whole * random.uniform(0.5, 1.0)
