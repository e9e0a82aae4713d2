"""Worker numbers of ids, leased in a service's database: no two processes issue the same id.

Each service leases from a range of its own, so that ids are unique over all services though each has a database of its
own. Number 0 belongs to a process that holds a data folder alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from svc_kit.clock import Clock
from svc_kit.db import Database
from svc_kit.ending import cancel_all
from svc_kit.errors import unavailable
from svc_kit.ids import IdGenerator
from svc_kit.leases import Lease
from svc_kit.liveness import new_holder
from svc_kit.service import Platform
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

RANGES: Mapping[str, range] = {
    "graph": range(1, 256),
    "media": range(256, 512),
    "rank": range(512, 768),
    "feed": range(768, 1024),
}
TTL_MS = 30_000
RENEW_S = 5.0
_log = log(__name__)


class LeasedIds(IdGenerator):
    """Issues ids under a leased worker number. A process that loses its lease (its database was away, or it was frozen,
    for most of the lease's time) stops issuing: UNAVAILABLE until it has one again."""

    def __init__(self, db: Database, numbers: range, clock: Clock) -> None:
        super().__init__(clock)
        self._db = db
        self._numbers = numbers
        self._lease: Lease | None = None

    def next(self) -> int:
        """See `IdGenerator.next`."""
        if self._lease is None or not self._lease.held:
            raise unavailable("This process holds no worker number; no ids are issued until it does.")
        return super().next()

    async def acquire(self) -> None:
        """Lease a number, or the held one for longer. Raises UNAVAILABLE when all are taken."""
        if self._lease is not None and await self._lease.acquire():
            return
        first = random.randrange(len(self._numbers))
        for step in range(len(self._numbers)):
            number = self._numbers[(first + step) % len(self._numbers)]
            lease = Lease(self._db, f"worker:{number}", new_holder(), TTL_MS, self._clock)
            if await lease.acquire():
                self._lease, self._worker = lease, number
                _log.info("worker number leased", number=number)
                return
        raise unavailable(f"All worker numbers {self._numbers.start} to {self._numbers.stop - 1} are taken.")

    async def keep(self) -> None:
        """Renew until cancelled."""
        while True:
            await self._clock.sleep(RENEW_S)
            try:
                await self.acquire()
            except Exception as error:
                if not is_transient(error):
                    raise
                _log.warning("worker number not renewed", error=str(error))

    async def release(self) -> None:
        """Give the number back."""
        if self._lease is not None:
            lease, self._lease = self._lease, None
            try:
                await lease.release()
            except Exception as error:
                if not is_transient(error):
                    raise


async def with_own_ids(platform: Platform, db: Database, service: str, stack: AsyncExitStack) -> Platform:
    """The platform as `service` uses it: where several processes issue ids, with a worker number leased in its
    database."""
    if not platform.leases_ids:
        return platform
    ids = LeasedIds(db, RANGES[service], platform.clock)
    await ids.acquire()
    stack.push_async_callback(ids.release)
    task = asyncio.create_task(ids.keep(), name=f"{service}.worker-number")
    stack.push_async_callback(cancel_all, [task])
    return replace(platform, ids=ids)
