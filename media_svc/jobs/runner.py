"""Runs the jobs of one kind: a bounded number at a time, each under a lease that its heartbeat keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from media_svc.jobs.store import Job, JobQueue
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.ids import created_ms
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

_log = log(__name__)
MAX_BACKOFF_S = 60.0
MAX_OUTAGE_PAUSE_S = 8.0
"""While what jobs need is away they are tried this often, by each runner: work goes on this soon after it is back."""
OUTAGE_BUDGET_S = 24 * 3600.0
"""A job this old has waited long enough: from then on also what an outage fails counts as an attempt."""
HEARTBEATS_PER_LEASE = 3
_MAX_DOUBLINGS = 32
"""A float doubled a thousand times overflows; after these any pause is at its most."""


class Retry(Exception):
    """This attempt failed, another may succeed. The message is for the log and, in the end, for a person."""


class Stale(Exception):
    """The job was dropped or taken over while it ran: leave everything as it is."""


@dataclass(frozen=True, slots=True)
class JobPolicy:
    """How jobs of one kind are run."""

    concurrency: int
    lease_s: float
    attempts: int
    backoff_s: float
    poll_s: float

    def backoff(self, attempt: int) -> float:
        """Seconds to wait after a failed attempt (from 1)."""
        return float(min(self.backoff_s * 2 ** min(attempt - 1, _MAX_DOUBLINGS), MAX_BACKOFF_S))


class JobRunner:
    """`work` does one job and commits its result; `give_up` records that it failed for good.

    What fails because something else is away (the store, the database) is no attempt of the job's: it waits, and no
    other is begun meanwhile but now and then to see whether it is back. A lasting refusal is one, and others go on.
    """

    def __init__(
        self,
        kind: str,
        queue: JobQueue,
        work: Callable[[Job], Awaitable[None]],
        give_up: Callable[[Job, str], Awaitable[None]],
        policy: JobPolicy,
        clock: Clock,
        holder: str,
    ) -> None:
        self._kind = kind
        self._queue = queue
        self._work = work
        self._give_up = give_up
        self._policy = policy
        self._clock = clock
        self._holder = holder
        self._nudged = asyncio.Event()
        self._outages = 0
        self._resumes_at = float("-inf")

    def nudge(self) -> None:
        """Look for jobs now rather than at the next poll."""
        self._nudged.set()

    async def run(self) -> None:
        """Work until cancelled; what runs then is given back."""
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                self._nudged.clear()
                await self._start_due(running)
                await self._wait(running)
                for task in [task for task in running if task.done()]:
                    running.discard(task)
                    task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def run_due(self) -> int:
        """Do what is due now, to its end; returns how many jobs were done."""
        jobs = await self._queue.claim(self._kind, self._holder, self._policy.concurrency, self._policy.lease_s)
        await asyncio.gather(*(self._one(job) for job in jobs))
        return len(jobs)

    async def _start_due(self, running: set[asyncio.Task[None]]) -> None:
        free = self._policy.concurrency - len(running)
        if free <= 0 or self._clock.monotonic() < self._resumes_at:
            return
        try:
            jobs = await self._queue.claim(self._kind, self._holder, free, self._policy.lease_s)
        except AppError as error:
            _log.warning("jobs can't be claimed", kind=self._kind, reason=error.reason.value)
            return
        running.update(asyncio.create_task(self._one(job), name=f"{job.kind}:{job.subject_id}") for job in jobs)

    async def _wait(self, running: set[asyncio.Task[None]]) -> None:
        """Until a job ended, somebody nudged, or it is time to poll."""
        timers = {asyncio.ensure_future(self._clock.sleep(self._policy.poll_s))}
        timers.add(asyncio.ensure_future(self._nudged.wait()))  # type: ignore[arg-type]
        try:
            await asyncio.wait({*running, *timers}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for timer in timers:
                timer.cancel()

    async def _one(self, job: Job) -> None:
        work = asyncio.ensure_future(self._attempt(job))
        heart = asyncio.create_task(self._beat(job, work))
        try:
            await work
        except asyncio.CancelledError:
            if not work.cancelled():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
            if heart.done():
                _log.info("job was dropped while it ran", kind=job.kind, subject=job.subject_id)
                return
            with suppress(AppError):
                await asyncio.shield(self._queue.release(job))
            raise
        except AppError as error:
            # What became of the attempt could not be written down: the lease runs out, and it is tried again.
            _log.error(
                "job's outcome is not recorded", kind=job.kind, subject=job.subject_id, reason=error.reason.value
            )
        finally:
            heart.cancel()

    async def _attempt(self, job: Job) -> None:
        try:
            if job.attempt > self._policy.attempts:
                failure = "It was interrupted too often."
            else:
                await self._work(job)
                await self._queue.finish(job)
                self._outages = 0
                return
        except Stale:
            return
        except Retry as error:
            failure = str(error)
        except AppError as error:
            failure = error.message
            if self._is_outage(job, error):
                await self._wait_out(job, failure)
                return
        except Exception as error:
            _log.error("job failed unexpectedly", kind=job.kind, subject=job.subject_id, exc_info=error)
            failure = "Something went wrong on our side."
        await self._failed(job, failure)

    def _is_outage(self, job: Job, error: AppError) -> bool:
        waited_ms = now_ms(self._clock) - created_ms(job.id)
        return is_transient(error) and not error.is_lasting and waited_ms < OUTAGE_BUDGET_S * 1000

    async def _wait_out(self, job: Job, failure: str) -> None:
        self._outages += 1
        delay = min(self._policy.backoff(self._outages), MAX_OUTAGE_PAUSE_S)
        self._resumes_at = self._clock.monotonic() + delay
        _log.warning("job waits out an outage", kind=job.kind, subject=job.subject_id, after_s=delay, failure=failure)
        await self._queue.retry(job, delay, failure, counts=False)

    async def _failed(self, job: Job, failure: str) -> None:
        if job.attempt < self._policy.attempts:
            delay = self._policy.backoff(job.attempt)
            _log.warning("job will be retried", kind=job.kind, subject=job.subject_id, after_s=delay, failure=failure)
            await self._queue.retry(job, delay, failure)
        else:
            _log.error("job failed for good", kind=job.kind, subject=job.subject_id, failure=failure)
            await self._give_up(job, failure)
            await self._queue.finish(job)

    async def _beat(self, job: Job, work: asyncio.Future[None]) -> None:
        """Keep the lease; once it is lost, stop the work: somebody else may be doing it."""
        while True:
            await self._clock.sleep(self._policy.lease_s / HEARTBEATS_PER_LEASE)
            try:
                held = await self._queue.extend(job, self._policy.lease_s)
            except AppError:
                continue  # the database may be back at the next beat; the lease lasts three
            if not held:
                work.cancel()
                return
