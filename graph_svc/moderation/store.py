"""Ports of moderation: reports in the relational truth, what can be reported, and removing it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from svc_kit.unit import Caller, Unit


class Subject(StrEnum):
    """What kind of thing a report is about."""

    VIDEO = "VIDEO"
    COMMENT = "COMMENT"
    USER = "USER"


class Resolution(StrEnum):
    """What was decided about a report."""

    OPEN = "OPEN"
    DISMISS = "DISMISS"
    REMOVE = "REMOVE"


@dataclass(frozen=True, slots=True)
class Report:
    """One report. Times are milliseconds since 1970-01-01 UTC."""

    id: int
    reporter_id: int
    subject: Subject
    subject_id: int
    reason: str
    created_at_ms: int
    resolution: Resolution = Resolution.OPEN


class ReportTx(Unit, Protocol):
    """One write transaction on reports."""

    async def put_report(self, report: Report) -> Report:
        """Insert a report, unless its reporter has reported the same thing before; the report that stands."""
        ...

    async def report(self, report_id: int) -> Report | None:
        """A report, locked until the transaction ends."""
        ...

    async def close(self, report_id: int, resolution: Resolution, moderator_id: int, now_ms: int) -> None:
        """Write what was decided about an open report."""
        ...

    async def put_takedown(self, video_id: int, moderator_id: int, now_ms: int) -> bool:
        """Note that a video is taken down; false when it was before."""
        ...


class ReportStore(Protocol):
    """Reports. Reads see every committed write."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[ReportTx]:
        """A write transaction for `caller`'s command."""
        ...

    async def report(self, report_id: int) -> Report | None:
        """A report, open or closed."""
        ...

    async def open_reports(self, after_id: int, limit: int) -> list[Report]:
        """Open reports with a greater id, oldest first."""
        ...


class SubjectDirectory(Protocol):
    """Answered by those who keep videos, comments and accounts."""

    async def is_visible(self, caller: Caller, subject: Subject, subject_id: int) -> bool:
        """Whether the thing exists and the caller may see it."""
        ...


class CommentRemover(Protocol):
    """Answered by engagement."""

    async def __call__(self, caller: Caller, comment_id: int, /) -> None:
        """Delete a comment, whoever wrote it; a deleted one stays so. Raises NOT_FOUND for an unknown one."""
        ...
