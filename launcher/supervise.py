"""Keeps workers running: one that raises is logged and started again, later each time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from svc_kit.clock import Clock
from svc_kit.ending import cancel_all
from svc_kit.service import Job
from svc_kit.telemetry import log

FIRST_DELAY_S, LONGEST_DELAY_S, HEALTHY_AFTER_S = 0.2, 30.0, 60.0
_log = log(__name__)


async def keep_running(job: Job, clock: Clock) -> None:
    """Run a job until cancelled; a failure is followed by a pause that doubles, a return likewise."""
    delay = FIRST_DELAY_S
    while True:
        began = clock.monotonic()
        try:
            await job.run()
            _log.warning("worker returned", worker=job.name)
        except Exception:
            _log.exception("worker failed", worker=job.name)
        if clock.monotonic() - began > HEALTHY_AFTER_S:
            delay = FIRST_DELAY_S
        await clock.sleep(delay * random.uniform(0.5, 1.0))
        delay = min(delay * 2, LONGEST_DELAY_S)


@asynccontextmanager
async def supervised(jobs: Sequence[Job], clock: Clock) -> AsyncIterator[None]:
    """Run jobs beside the block; leaving it cancels them and waits for their end."""
    tasks = [asyncio.create_task(keep_running(job, clock), name=job.name) for job in jobs]
    try:
        yield
    finally:
        await cancel_all(tasks)
