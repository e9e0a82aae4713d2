"""The record of versions in the service's database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from rank_svc.versions.store import REASON_CHARS, Decision, Ending, Outcome, ReplicaState, TrainingRun
from rank_svc.versions.stores import tables as t
from svc_kit.db import Database, upsert
from svc_kit.leases import exclusive


class SqlVersionLog:
    """See `VersionLog`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def decide(self, decision: Decision) -> None:
        values = asdict(decision) | {
            "outcome": decision.outcome.value,
            "reason": decision.reason[:REASON_CHARS],
            "report": dict(decision.report),
        }
        async with self._db.write() as connection:
            number = await self._next(connection, t.decisions)
            await connection.execute(insert(t.decisions).values(number=number, **values))

    async def _next(self, connection: AsyncConnection, table: Table) -> int:
        # Two that append at once would get the same number: the second waits.
        await exclusive(self._db, connection, table.name)
        newest = await connection.scalar(select(func.coalesce(func.max(table.c.number), 0)))
        return int(newest or 0) + 1

    async def decisions(self, limit: int) -> Sequence[Decision]:
        query = select(t.decisions).order_by(t.decisions.c.number.desc()).limit(limit)
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [
            Decision(r["version"], r["previous"], Outcome(r["outcome"]), r["reason"], r["at_ms"], r["report"])
            for r in rows
        ]

    async def begin_training(self, started_at_ms: int, events: int) -> int:
        async with self._db.write() as connection:
            number = await self._next(connection, t.trainings)
            run = TrainingRun(number, started_at_ms, events)
            await connection.execute(insert(t.trainings).values(**_run(run)))
        return number

    async def end_training(self, run: TrainingRun) -> None:
        values = {name: value for name, value in _run(run).items() if name not in ("number", "started_at_ms", "events")}
        async with self._db.write() as connection:
            await connection.execute(update(t.trainings).where(t.trainings.c.number == run.number).values(**values))

    async def trainings(self, limit: int) -> Sequence[TrainingRun]:
        query = select(t.trainings).order_by(t.trainings.c.number.desc()).limit(limit)
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [TrainingRun(**dict(r) | {"ending": Ending(r["ending"])}) for r in rows]

    async def report(self, state: ReplicaState) -> None:
        values = asdict(state) | {"refused": state.refused[:REASON_CHARS]}
        changed = [name for name in values if name != "holder"]
        async with self._db.write() as connection:
            await connection.execute(upsert(self._db, t.replicas, values, key=["holder"], update=changed))

    async def replicas(self, since_ms: int) -> Sequence[ReplicaState]:
        query = select(t.replicas).where(t.replicas.c.at_ms >= since_ms).order_by(t.replicas.c.holder)
        async with self._db.read() as connection:
            return [ReplicaState(**row) for row in (await connection.execute(query)).mappings()]

    async def forget_replicas(self, before_ms: int) -> int:
        async with self._db.write() as connection:
            return (await connection.execute(delete(t.replicas).where(t.replicas.c.at_ms < before_ms))).rowcount


def _run(run: TrainingRun) -> dict[str, object]:
    return asdict(run) | {"ending": run.ending.value, "reason": run.reason[:REASON_CHARS]}
