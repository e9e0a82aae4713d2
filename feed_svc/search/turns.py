"""Whose turn it is to write the index, by a lease in the service's database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from svc_kit.clock import Clock
from svc_kit.db import Database
from svc_kit.errors import unavailable
from svc_kit.leases import Lease
from svc_kit.liveness import new_holder
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

NAME = "feed.search.writer"
TTL_MS = 60_000
"""A machine that is lost keeps its turn for so long; a process killed on this one gives it up at once."""
WAIT_S = 5.0
POLL_S = 0.05

_log = log(__name__)


class LeasedTurn:
    """`Turn` among all processes that use one database. Given back whenever nobody here needs it."""

    def __init__(self, db: Database, clock: Clock, wait_s: float = WAIT_S) -> None:
        self._lease = Lease(db, NAME, new_holder(), TTL_MS, clock)
        self._clock = clock
        self._wait_s = wait_s
        self._lock = asyncio.Lock()
        self._inside = 0
        self._renewing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        async with self._lock:
            if not self._inside:
                await self._take()
                self._renewing = asyncio.create_task(self._renew())
            self._inside += 1
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                async with self._lock:
                    self._inside -= 1
                    if not self._inside:
                        await self._give_back()

    async def _take(self) -> None:
        until = self._clock.monotonic() + self._wait_s
        while not await self._lease.acquire():
            if self._clock.monotonic() >= until:
                raise unavailable("Another process is writing the search index.")
            await self._clock.sleep(POLL_S)

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(TTL_MS / 4000)
            try:
                await self._lease.acquire()
            except Exception as error:
                if not is_transient(error):
                    raise
                _log.warning("the turn to write the search index is not renewed", error=str(error))

    async def _give_back(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        try:
            await self._lease.release()
        except Exception as error:
            if not is_transient(error):
                raise
            _log.warning("the turn to write the search index ends by itself", error=str(error))
