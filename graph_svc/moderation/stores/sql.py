"""Reports in the relational truth."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import Any

from sqlalchemy import select, update

from graph_svc.moderation.store import Report, Resolution, Subject
from graph_svc.moderation.stores.tables import reports, takedowns
from svc_kit.caller import Caller
from svc_kit.db import insert_absent, upsert
from svc_kit.uow import SqlTx, UnitOfWork, begin

_REPORT = select(
    reports.c.report_id,
    reports.c.reporter_id,
    reports.c.subject,
    reports.c.subject_id,
    reports.c.reason,
    reports.c.created_at_ms,
    reports.c.resolution,
)


def _report(row: Any) -> Report:
    report_id, reporter_id, subject, subject_id, reason, created_at_ms, resolution = row
    return Report(report_id, reporter_id, Subject(subject), subject_id, reason, created_at_ms, Resolution(resolution))


class SqlReportTx(SqlTx):
    """`ReportTx` in one database transaction."""

    async def put_report(self, report: Report) -> Report:
        row = asdict(report)
        row["report_id"] = row.pop("id")
        same = {"reporter_id": report.reporter_id, "subject": report.subject, "subject_id": report.subject_id}
        await self.connection.execute(upsert(self.uow.db, reports, row, key=list(same)))
        stands = _REPORT.where(*(reports.c[name] == value for name, value in same.items()))
        return _report((await self.connection.execute(stands)).one())

    async def report(self, report_id: int) -> Report | None:
        found = _REPORT.where(reports.c.report_id == report_id).with_for_update()
        row = (await self.connection.execute(found)).one_or_none()
        return None if row is None else _report(row)

    async def close(self, report_id: int, resolution: Resolution, moderator_id: int, now_ms: int) -> None:
        await self.connection.execute(
            update(reports)
            .where(reports.c.report_id == report_id)
            .values(resolution=resolution, moderator_id=moderator_id, resolved_at_ms=now_ms)
        )

    async def put_takedown(self, video_id: int, moderator_id: int, now_ms: int) -> bool:
        known = select(takedowns.c.video_id).where(takedowns.c.video_id == video_id).with_for_update()
        if (await self.connection.execute(known)).one_or_none() is not None:
            return False
        row = {"video_id": video_id, "moderator_id": moderator_id, "taken_down_at_ms": now_ms}
        # Another transaction may have been first since the look.
        return await insert_absent(self.uow.db, self.connection, takedowns, row, key=["video_id"])


class SqlReportStore:
    """`ReportStore` over the service's database."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[SqlReportTx]:
        return begin(SqlReportTx, self._uow, caller)

    async def report(self, report_id: int) -> Report | None:
        async with self._uow.db.read() as connection:
            row = (await connection.execute(_REPORT.where(reports.c.report_id == report_id))).one_or_none()
        return None if row is None else _report(row)

    async def open_reports(self, after_id: int, limit: int) -> list[Report]:
        found = _REPORT.where(reports.c.resolution == Resolution.OPEN, reports.c.report_id > after_id)
        async with self._uow.db.read() as connection:
            rows = (await connection.execute(found.order_by(reports.c.report_id).limit(limit))).all()
        return [_report(row) for row in rows]
