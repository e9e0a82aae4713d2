"""The job queue in a relational database. A claim is a conditional update: of two claimants one changes the row."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from media_svc.jobs.store import Job
from media_svc.jobs.stores.tables import jobs
from svc_kit.clock import now_ms
from svc_kit.db import upsert
from svc_kit.liveness import is_gone
from svc_kit.uow import SqlTx, UnitOfWork

_MAX_ERROR_CHARS = 500
_MAX_LEASED_LOOKED_AT = 100


class SqlJobTx(SqlTx):
    """See `JobTx`."""

    async def enqueue_job(self, kind: str, subject_id: int) -> None:
        row = {
            "id": self.uow.ids.next(),
            "kind": kind,
            "subject_id": subject_id,
            "attempts": 0,
            "due_at_ms": now_ms(self.uow.clock),
            "holder": "",
            "claim": "",
            "lease_until_ms": 0,
            "last_error": "",
        }
        await self.connection.execute(upsert(self.uow.db, jobs, row, key=("kind", "subject_id")))

    async def remove_job(self, kind: str, subject_id: int) -> None:
        await self.connection.execute(delete(jobs).where(jobs.c.kind == kind, jobs.c.subject_id == subject_id))

    async def holds_job(self, job: Job) -> bool:
        found = await self.connection.execute(select(jobs.c.id).where(*_held(job)).with_for_update())
        return found.first() is not None


class SqlJobQueue:
    """See `JobQueue`."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._db = uow.db
        self._clock = uow.clock

    async def claim(self, kind: str, holder: str, limit: int, lease_s: float) -> Sequence[Job]:
        now = now_ms(self._clock)
        async with self._db.read() as connection:
            if not (await _free(connection, kind, now, 1) or await _orphaned(connection, kind, now)):
                return []
        async with self._db.write() as connection:
            # Rows that another claimant is at are passed over, where the database can.
            free = await _free(connection, kind, now, limit, lock=True)
            due = [*free, *await _orphaned(connection, kind, now, lock=True)][:limit]
            claimed = [await self._take(connection, row, holder, now + round(lease_s * 1000)) for row in due]
        return [job for job in claimed if job is not None]

    async def _take(self, connection: AsyncConnection, row: Row[Any], holder: str, until_ms: int) -> Job | None:
        claim = secrets.token_hex(8)
        taken = await connection.execute(
            update(jobs)
            .where(jobs.c.id == row.id, jobs.c.claim == row.claim, jobs.c.lease_until_ms == row.lease_until_ms)
            .values(holder=holder, claim=claim, lease_until_ms=until_ms, attempts=row.attempts + 1)
        )
        return Job(row.id, row.kind, row.subject_id, row.attempts + 1, claim) if taken.rowcount == 1 else None

    async def extend(self, job: Job, lease_s: float) -> bool:
        async with self._db.write() as connection:
            until = now_ms(self._clock) + round(lease_s * 1000)
            done = await connection.execute(update(jobs).where(*_held(job)).values(lease_until_ms=until))
        return bool(done.rowcount)

    async def retry(self, job: Job, delay_s: float, error: str, *, counts: bool = True) -> None:
        due = now_ms(self._clock) + round(delay_s * 1000)
        attempts = job.attempt if counts else job.attempt - 1
        await self._give_back(job, due_at_ms=due, last_error=error[:_MAX_ERROR_CHARS], attempts=attempts)

    async def release(self, job: Job) -> None:
        await self._give_back(job, attempts=job.attempt - 1)

    async def _give_back(self, job: Job, **values: Any) -> None:
        async with self._db.write() as connection:
            free = {"holder": "", "claim": "", "lease_until_ms": 0}
            await connection.execute(update(jobs).where(*_held(job)).values(**free, **values))

    async def finish(self, job: Job) -> None:
        async with self._db.write() as connection:
            await connection.execute(delete(jobs).where(*_held(job)))

    async def count(self, kind: str) -> int:
        async with self._db.read() as connection:
            found = await connection.execute(select(func.count()).select_from(jobs).where(jobs.c.kind == kind))
            return int(found.scalar_one())


def _held(job: Job) -> tuple[Any, ...]:
    return (jobs.c.id == job.id, jobs.c.claim == job.lease)


async def _free(
    connection: AsyncConnection, kind: str, now: int, limit: int, *, lock: bool = False
) -> Sequence[Row[Any]]:
    free = or_(jobs.c.claim == "", jobs.c.lease_until_ms <= now)
    due = select(jobs).where(jobs.c.kind == kind, jobs.c.due_at_ms <= now, free)
    due = due.order_by(jobs.c.due_at_ms, jobs.c.id).limit(limit)
    return (await connection.execute(due.with_for_update(skip_locked=True) if lock else due)).all()


async def _orphaned(connection: AsyncConnection, kind: str, now: int, *, lock: bool = False) -> Sequence[Row[Any]]:
    """Leased jobs whose holder was killed: nobody need wait for the lease to run out."""
    leased = select(jobs).where(jobs.c.kind == kind, jobs.c.claim != "", jobs.c.lease_until_ms > now)
    leased = leased.order_by(jobs.c.due_at_ms).limit(_MAX_LEASED_LOOKED_AT)
    rows = (await connection.execute(leased.with_for_update(skip_locked=True) if lock else leased)).all()
    return [row for row in rows if is_gone(row.holder)]
