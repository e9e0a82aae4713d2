"""Exposures and stopped arms in a relational database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from sqlalchemy import select

from feed_svc.experiments.store import Exposure, Stop
from feed_svc.experiments.stores.tables import experiment_exposures, experiment_stops
from svc_kit.caller import Caller
from svc_kit.db import insert_absent
from svc_kit.uow import SqlTx, UnitOfWork, begin

REASON_CHARS = 255


class SqlExperimentTx(SqlTx):
    """`ExperimentTx`."""

    async def expose(self, exposure: Exposure) -> bool:
        row = {
            "owner": exposure.owner,
            "experiment": exposure.experiment,
            "arm": exposure.arm,
            "at_ms": exposure.at_ms,
        }
        return await insert_absent(self.uow.db, self.connection, experiment_exposures, row, key=["owner", "experiment"])

    async def stop(self, stop: Stop) -> bool:
        row = {
            "experiment": stop.experiment,
            "arm": stop.arm,
            "at_ms": stop.at_ms,
            "reason": stop.reason[:REASON_CHARS],
        }
        return await insert_absent(self.uow.db, self.connection, experiment_stops, row, key=["experiment", "arm"])


class SqlExperimentStore:
    """`ExperimentStore`."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[SqlExperimentTx]:
        return begin(SqlExperimentTx, self._uow, caller)

    async def stops(self, experiments: Sequence[str]) -> Sequence[Stop]:
        s, found = experiment_stops, list[Stop]()
        async with self._uow.db.read() as connection:
            for name in experiments:
                rows = await connection.execute(select(s).where(s.c.experiment == name).order_by(s.c.arm))
                found += [Stop(row.experiment, row.arm, row.at_ms, row.reason) for row in rows]
        return found
