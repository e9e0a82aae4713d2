"""Reporting, and deciding about reports."""

from __future__ import annotations

from dataclasses import replace

from graph_svc.moderation.store import (
    CommentRemover,
    Report,
    ReportStore,
    ReportTx,
    Resolution,
    Subject,
    SubjectDirectory,
)
from reelgraph.events.v1.moderation_pb2 import ModerationReported, ModerationVideoRemoved
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError, Reason, UserCode, conflict, invalid, not_found
from svc_kit.ids import IdGenerator
from svc_kit.text import printable
from svc_kit.uow import UnitOfWork, idempotent

# Never the reporter's own words: they may tell the author who it was.
TOLD_TO_AUTHOR = "A moderator removed this video after a report."


class ModerationCommands:
    """Changes of reports."""

    def __init__(
        self,
        store: ReportStore,
        replies: UnitOfWork,
        *,
        ids: IdGenerator,
        clock: Clock,
        subjects: SubjectDirectory,
        remove_comment: CommentRemover,
    ) -> None:
        self.replies = replies
        self._store = store
        self._ids = ids
        self._clock = clock
        self._subjects = subjects
        self._remove_comment = remove_comment

    @idempotent
    async def report_content(self, caller: Caller, subject: Subject, subject_id: int, reason: str) -> Report:
        """Report something; the same again answers the report that stands. Raises NOT_FOUND on `subject_id`."""
        user_id = caller.viewer()
        text = reason.strip()
        if not text:
            raise invalid("reason", "reason must have at least 1 character that can be seen.", UserCode.REQUIRED)
        if not printable(text, lines=True):
            raise invalid("reason", "reason must not hold control characters.")
        if not await self._subjects.is_visible(caller, subject, subject_id):
            raise not_found("subject_id", subject.value.lower())
        new = Report(self._ids.next(), user_id, subject, subject_id, text, now_ms(self._clock))
        async with self._store.begin(caller) as tx:
            report = await tx.put_report(new)
            if report.id == new.id:
                reported = ModerationReported(
                    report_id=report.id, subject_kind=subject.value, subject_id=subject_id, reason=text
                )
                tx.emit(entity=f"report:{report.id}", version=1, actor_id=user_id, moderation_reported=reported)
            return await tx.reply(report)

    @idempotent
    async def resolve_report(self, caller: Caller, report_id: int, resolution: Resolution) -> Report:
        """Close a report; the same decision again changes nothing, another one is a CONFLICT on `report_id`.

        A comment is deleted before its report is closed: after a crash between the two the report is still open, and
        resolving it again finishes it.
        """
        report = _still_open_to(resolution, await self._store.report(report_id))
        if resolution is Resolution.REMOVE and report.subject is Subject.USER:
            raise invalid("resolution", "An account can't be removed; resolution must be DISMISS, it is REMOVE.")
        if resolution is Resolution.REMOVE and report.subject is Subject.COMMENT:
            await self._delete(caller, report.subject_id)
        async with self._store.begin(caller) as tx:
            report = _still_open_to(resolution, await tx.report(report_id))
            if report.resolution is Resolution.OPEN:
                await tx.close(report_id, resolution, caller.viewer(), now_ms(self._clock))
                if resolution is Resolution.REMOVE and report.subject is Subject.VIDEO:
                    await self._take_down(tx, caller, report.subject_id)
            return await tx.reply(replace(report, resolution=resolution))

    async def _delete(self, caller: Caller, comment_id: int) -> None:
        try:
            await self._remove_comment(caller, comment_id)
        except AppError as error:
            # Gone with its video or by its author: what the moderator wanted.
            if error.reason is not Reason.NOT_FOUND:
                raise

    async def _take_down(self, tx: ReportTx, caller: Caller, video_id: int) -> None:
        if await tx.put_takedown(video_id, caller.viewer(), now_ms(self._clock)):
            tx.emit(
                entity=f"takedown:{video_id}",
                version=1,
                actor_id=caller.viewer(),
                moderation_video_removed=ModerationVideoRemoved(video_id=video_id, reason=TOLD_TO_AUTHOR),
            )


def _still_open_to(resolution: Resolution, report: Report | None) -> Report:
    if report is None:
        raise not_found("report_id", "report")
    if report.resolution not in (Resolution.OPEN, resolution):
        raise conflict("report_id", f"This report was resolved as {report.resolution.value} before.")
    return report
