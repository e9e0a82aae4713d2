"""Open sockets and event streams: how many, and how they end when the process does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from prometheus_client import Gauge

_OPEN = Gauge("reelgraph_gateway_connections", "Open WebSockets and event streams", ["kind"])


class TooMany(Exception):
    """No more connections are taken: the limit is reached, or the process is stopping."""


class Connections:
    """All of this process."""

    def __init__(self, limit: int, limit_per_address: int) -> None:
        self._limit = limit
        self._limit_per_address = limit_per_address
        self._of_address: Counter[str] = Counter()
        self._leave: set[Callable[[], None]] = set()
        self._draining = False
        self._empty = asyncio.Event()

    @contextmanager
    def entered(self, kind: str, address: str, leave: Callable[[], None]) -> Iterator[None]:
        """Count a connection of a client's address for the block; `leave` is called when the process wants it gone.

        Raises `TooMany` for the process or the address: nobody alone may take every place.
        """
        if self._draining or len(self._leave) >= self._limit or self._of_address[address] >= self._limit_per_address:
            raise TooMany
        self._leave.add(leave)
        self._of_address[address] += 1
        _OPEN.labels(kind).inc()
        try:
            yield
        finally:
            self._leave.discard(leave)
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]
            _OPEN.labels(kind).dec()
            if not self._leave:
                self._empty.set()

    async def drain(self, grace_s: float) -> None:
        """Take no more, ask all to leave, and wait for them for `grace_s`: clients come back elsewhere and go on after
        the last event they saw."""
        self._draining = True
        self._empty.clear()
        for leave in tuple(self._leave):
            leave()
        if self._leave:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._empty.wait()
