"""A lease held for as long as a block runs, so that of all processes one does a thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from svc_kit.clock import Clock
from svc_kit.ending import cancel_all
from svc_kit.leases import Lease
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

RENEW_S = 10.0

_log = log(__name__)


@asynccontextmanager
async def holding(lease: Lease, clock: Clock) -> AsyncIterator[bool]:
    """Yields whether it is held, and renews it until the block ends. Raises UNAVAILABLE when the database is."""
    if not await lease.acquire():
        yield False
        return
    task = asyncio.create_task(_keep(lease, clock), name="lease")
    try:
        yield True
    finally:
        await cancel_all([task])
        try:
            await lease.release()
        except Exception as error:
            if not is_transient(error):
                raise
            _log.warning("lease not released, it runs out", error=str(error))


async def _keep(lease: Lease, clock: Clock) -> None:
    while True:
        await clock.sleep(RENEW_S)
        try:
            await lease.acquire()
        except Exception as error:
            if not is_transient(error):
                raise
            _log.warning("lease not renewed", error=str(error))
