"""Open sockets and event streams: how many, and how they end when the process does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from prometheus_client import Gauge

_OPEN = Gauge("reelgraph_gateway_connections", "Open WebSockets and event streams", ["kind"])


class TooMany(Exception):
    """No more connections are taken: the limit is reached, or the process is stopping."""


class Connections:
    """All of this process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._leave: set[Callable[[], None]] = set()
        self._draining = False
        self._empty = asyncio.Event()

    @contextmanager
    def entered(self, kind: str, leave: Callable[[], None]) -> Iterator[None]:
        """Count a connection for the block; `leave` is called when the process wants it gone. Raises `TooMany`."""
        if self._draining or len(self._leave) >= self._limit:
            raise TooMany
        self._leave.add(leave)
        _OPEN.labels(kind).inc()
        try:
            yield
        finally:
            self._leave.discard(leave)
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
