"""A bounded queue beside the request path: putting never waits and never fails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from prometheus_client import Counter

from svc_kit.clock import Clock
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

T = TypeVar("T")

BATCH = 200
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0

_DROPPED = Counter("reelgraph_spool_dropped_total", "Entries dropped from a full spool", ["spool"])
_log = log(__name__)


class Spool(Generic[T]):
    """Hands entries to `sink` in batches, in order, again while it is down. Full: the oldest entry is dropped and
    counted. A batch that `sink` refuses for good is dropped, too."""

    def __init__(self, name: str, sink: Callable[[Sequence[T]], Awaitable[None]], clock: Clock, entries: int) -> None:
        self.name = name
        self._sink = sink
        self._clock = clock
        self._waiting: deque[T] = deque()
        self._entries = entries
        self._filled = asyncio.Event()

    def put(self, entry: T) -> None:
        """Queue an entry."""
        if len(self._waiting) >= self._entries:
            self._waiting.popleft()
            _DROPPED.labels(self.name).inc()
        self._waiting.append(entry)
        self._filled.set()

    async def run(self) -> None:
        """Work until cancelled."""
        pause = FIRST_PAUSE_S
        while True:
            await self._filled.wait()
            if await self.flush():
                pause = FIRST_PAUSE_S
            else:
                await self._clock.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    async def flush(self) -> bool:
        """Hand over all that waits; false when the sink is down (then it all still waits)."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._sink(batch)
            except BaseException as error:
                lasting = isinstance(error, Exception) and not is_transient(error)
                if lasting:
                    _DROPPED.labels(self.name).inc(len(batch))
                    _log.error("spool dropped a batch", spool=self.name, entries=len(batch), exc_info=error)
                    continue
                self._waiting.extendleft(reversed(batch))
                if not isinstance(error, Exception):
                    raise
                return False
        self._filled.clear()
        return True
