"""ModerationService: protobuf to domain and back."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from graph_svc.moderation.commands import ModerationCommands
from graph_svc.moderation.queries import ModerationQueries
from graph_svc.moderation.store import Report, Resolution, Subject
from reelgraph.graph.v1 import moderation_pb2 as pb
from reelgraph.graph.v1.moderation_pb2_grpc import ModerationServiceServicer
from svc_kit.caller import current_caller
from svc_kit.errors import invalid
from svc_kit.rpc.server import Context

_SUBJECTS = {
    pb.REPORT_SUBJECT_VIDEO: Subject.VIDEO,
    pb.REPORT_SUBJECT_COMMENT: Subject.COMMENT,
    pb.REPORT_SUBJECT_USER: Subject.USER,
}
_RESOLUTIONS = {
    pb.RESOLUTION_UNSPECIFIED: Resolution.OPEN,
    pb.RESOLUTION_DISMISS: Resolution.DISMISS,
    pb.RESOLUTION_REMOVE: Resolution.REMOVE,
}
_SUBJECT_NUMBERS = {subject: number for number, subject in _SUBJECTS.items()}
_RESOLUTION_NUMBERS = {resolution: number for number, resolution in _RESOLUTIONS.items()}


class ModerationServicer(ModerationServiceServicer):
    """See `moderation.proto`."""

    def __init__(self, commands: ModerationCommands, queries: ModerationQueries) -> None:
        self._commands = commands
        self._queries = queries

    async def ReportContent(self, request: pb.ReportContentRequest, context: Context) -> pb.ReportContentResponse:
        subject = _SUBJECTS.get(request.subject)
        if subject is None:
            raise invalid("subject", f"subject must be VIDEO, COMMENT or USER; it is {request.subject}.")
        report = await self._commands.report_content(current_caller(), subject, request.subject_id, request.reason)
        return pb.ReportContentResponse(report=_report(report))

    async def ListReports(self, request: pb.ListReportsRequest, context: Context) -> pb.ListReportsResponse:
        page = await self._queries.open_reports(request.page_size, request.page_token)
        return pb.ListReportsResponse(reports=map(_report, page.reports), next_page_token=page.next_page_token)

    async def ResolveReport(self, request: pb.ResolveReportRequest, context: Context) -> pb.ResolveReportResponse:
        resolution = _RESOLUTIONS.get(request.resolution, Resolution.OPEN)
        if resolution is Resolution.OPEN:
            raise invalid("resolution", f"resolution must be DISMISS or REMOVE; it is {request.resolution}.")
        report = await self._commands.resolve_report(current_caller(), request.report_id, resolution)
        return pb.ResolveReportResponse(report=_report(report))


def _report(report: Report) -> pb.Report:
    created_at = Timestamp()
    created_at.FromMilliseconds(report.created_at_ms)
    return pb.Report(
        id=report.id,
        reporter_id=report.reporter_id,
        subject=_SUBJECT_NUMBERS[report.subject],
        subject_id=report.subject_id,
        reason=report.reason,
        created_at=created_at,
        resolution=_RESOLUTION_NUMBERS[report.resolution],
    )
