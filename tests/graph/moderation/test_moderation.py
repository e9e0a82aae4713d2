"""ModerationService on a real gRPC server, beside the real accounts and faked videos and comments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from graph_svc.accounts.wiring import build_accounts
from graph_svc.context import GraphContext
from graph_svc.moderation.commands import TOLD_TO_AUTHOR
from graph_svc.moderation.wiring import build_moderation
from graph_svc.schema import metadata, outbox, replies
from graph_svc.settings import GraphSettings
from reelgraph.graph.v1 import moderation_pb2 as pb
from reelgraph.graph.v1.accounts_pb2 import SignUpRequest
from reelgraph.graph.v1.accounts_pb2_grpc import AccountServiceStub
from reelgraph.graph.v1.moderation_pb2_grpc import ModerationServiceStub
from svc_kit.caller import Caller
from svc_kit.db import connect
from svc_kit.errors import AppError, Reason, UserCode, not_found, unavailable
from svc_kit.rpc.client import AS_SERVICE
from svc_kit.service import Service
from svc_kit.uow import UnitOfWork
from tests.support.graph_peers import FakeMedia, fake_comments, fake_media
from tests.support.platform import BenchPlatform, create_tables, emitted, test_platform

KEY = "0123456789abcdef"
CHEAP = GraphSettings(password_time_cost=1, password_memory_kib=8, password_parallelism=1)
VIDEO, COMMENT, USER = pb.REPORT_SUBJECT_VIDEO, pb.REPORT_SUBJECT_COMMENT, pb.REPORT_SUBJECT_USER
DISMISS, REMOVE = pb.RESOLUTION_DISMISS, pb.RESOLUTION_REMOVE


@dataclass
class World:
    """A running ModerationService and its client."""

    platform: BenchPlatform
    media: FakeMedia
    comments: set[int]
    removed: list[int] = field(default_factory=list)
    broken: bool = False

    def __post_init__(self) -> None:
        self.stub: Any = ModerationServiceStub(self.platform.channels.graph)
        self.boss = self.platform.tokens.moderator(99)

    async def remove(self, caller: Caller, comment_id: int) -> None:
        """Engagement's part."""
        if self.broken:
            raise unavailable("down")
        if comment_id not in self.comments:
            raise not_found("subject_id", "comment")
        self.removed.append(comment_id)

    async def report(
        self, subject: pb.ReportSubject, subject_id: int, *, by: int = 1, reason: str = "spam", key: str = ""
    ) -> pb.Report:
        """Report something."""
        request = pb.ReportContentRequest(subject=subject, subject_id=subject_id, reason=reason, idempotency_key=key)
        viewer = self.platform.tokens.viewer(by)
        report: pb.Report = (await self.platform.peer.call(self.stub.ReportContent, request, viewer)).report
        return report

    async def open(self, **fields: Any) -> list[int]:
        """Ids of open reports."""
        request = pb.ListReportsRequest(**fields)
        return [r.id for r in (await self.platform.peer.call(self.stub.ListReports, request, self.boss)).reports]

    async def resolve(self, report: pb.Report, resolution: pb.Resolution, key: str = "") -> pb.Report:
        """Decide about a report."""
        request = pb.ResolveReportRequest(report_id=report.id, resolution=resolution, idempotency_key=key)
        answer: pb.Report = (await self.platform.peer.call(self.stub.ResolveReport, request, self.boss)).report
        return answer

    async def events(self) -> list[tuple[str, str]]:
        """What was emitted: entity and kind."""
        found = [(e.entity, e.WhichOneof("body") or "") for e in await emitted(self.platform, "graph")]
        return [(entity, kind) for entity, kind in found if kind.startswith("moderation")]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with test_platform(tmp_path) as platform, AsyncExitStack() as stack:
        await create_tables(platform, "graph", metadata)
        db = connect(platform.settings.service_db_url("graph"))
        stack.push_async_callback(db.close)
        uow = UnitOfWork(db, outbox, replies, platform.ids, platform.clock)
        context = GraphContext(platform, db, uow, CHEAP, stack)
        media = await stack.enter_async_context(fake_media(platform))
        opened = World(platform, media, comments={7})
        media.visible.add(5)
        domains = [await build_accounts(context), await build_moderation(context, opened.remove)]
        servicers = [servicer for domain in domains for servicer in domain.servicers]
        service = Service("graph", [*servicers, fake_comments(opened.comments)])
        await stack.enter_async_context(platform.serve(service))
        yield opened


async def refusal(awaitable: Any) -> AppError:
    with pytest.raises(AppError) as refused:
        await awaitable
    return refused.value


async def test_a_report_is_stored_told_and_listed(world: World) -> None:
    report = await world.report(VIDEO, 5, reason=" spam ")
    assert (report.reporter_id, report.subject, report.subject_id, report.reason) == (1, VIDEO, 5, "spam")
    assert report.resolution == pb.RESOLUTION_UNSPECIFIED
    assert await world.open() == [report.id]
    assert await world.events() == [(f"report:{report.id}", "moderation_reported")]


async def test_reporting_the_same_again_changes_nothing(world: World) -> None:
    first = await world.report(VIDEO, 5)
    assert await world.report(VIDEO, 5, reason="other") == first
    assert len(await world.events()) == 1
    other = await world.report(VIDEO, 5, by=2)
    assert await world.open() == [first.id, other.id]


async def test_what_the_reporter_may_not_see_is_not_there(world: World) -> None:
    for subject in (VIDEO, COMMENT, USER):
        error = await refusal(world.report(subject, 404))
        assert [(v.field, v.code) for v in error.violations] == [("subject_id", UserCode.NOT_FOUND)]
    assert await world.events() == []


async def test_comments_and_accounts_can_be_reported_too(world: World) -> None:
    accounts: Any = AccountServiceStub(world.platform.channels.graph)
    request = SignUpRequest(username="anna", password="correct horse")
    made = await world.platform.peer.call(accounts.SignUp, request, AS_SERVICE)
    reports = [await world.report(COMMENT, 7), await world.report(USER, made.credentials.account.id)]
    assert await world.open() == [report.id for report in reports]


@pytest.mark.parametrize(
    ("fields", "name", "code"),
    [
        ({"subject": 0}, "subject", UserCode.REQUIRED),
        ({"subject": 77}, "subject", UserCode.INVALID),
        ({"subject_id": 0}, "subject_id", UserCode.INVALID),
        ({"reason": ""}, "reason", UserCode.REQUIRED),
        ({"reason": "  "}, "reason", UserCode.REQUIRED),
        ({"reason": "x" * 501}, "reason", UserCode.TOO_LONG),
        ({"reason": "a\x00"}, "reason", UserCode.INVALID),
    ],
)
async def test_bad_input_names_its_field(world: World, fields: dict[str, Any], name: str, code: UserCode) -> None:
    request = pb.ReportContentRequest(**{"subject": VIDEO, "subject_id": 5, "reason": "spam", **fields})
    viewer = world.platform.tokens.viewer(1)
    error = await refusal(world.platform.peer.call(world.stub.ReportContent, request, viewer))
    assert [(v.field, v.code) for v in error.violations] == [(name, code)]


async def test_only_moderators_list_and_decide(world: World) -> None:
    report = await world.report(VIDEO, 5)
    for method, request in [
        (world.stub.ListReports, pb.ListReportsRequest()),
        (world.stub.ResolveReport, pb.ResolveReportRequest(report_id=report.id, resolution=REMOVE)),
    ]:
        error = await refusal(world.platform.peer.call(method, request, world.platform.tokens.viewer(1)))
        assert error.reason is Reason.FORBIDDEN
        assert (await refusal(world.platform.peer.call(method, request, Caller()))).reason is Reason.UNAUTHENTICATED


async def test_removing_a_video_takes_it_down_once_and_does_not_tell_who_reported(world: World) -> None:
    first, second = await world.report(VIDEO, 5, reason="I am Anna"), await world.report(VIDEO, 5, by=2)
    assert (await world.resolve(first, REMOVE)).resolution == REMOVE
    await world.resolve(second, REMOVE)
    assert (await world.events())[2:] == [("takedown:5", "moderation_video_removed")]
    event = (await emitted(world.platform, "graph"))[-1]
    assert (event.actor_id, event.moderation_video_removed.video_id) == (99, 5)
    assert event.moderation_video_removed.reason == TOLD_TO_AUTHOR
    assert await world.open() == []


async def test_removing_a_comment_deletes_it(world: World) -> None:
    await world.resolve(await world.report(COMMENT, 7), REMOVE)
    assert world.removed == [7]
    assert await world.open() == []


async def test_a_report_stays_open_until_its_comment_is_really_deleted(world: World) -> None:
    report = await world.report(COMMENT, 7)
    world.broken = True
    assert (await refusal(world.resolve(report, REMOVE))).reason is Reason.UNAVAILABLE
    assert await world.open() == [report.id]
    world.broken = False
    await world.resolve(report, REMOVE)
    assert world.removed == [7]


async def test_a_comment_that_is_gone_already_counts_as_removed(world: World) -> None:
    report = await world.report(COMMENT, 7)
    world.comments.clear()
    assert (await world.resolve(report, REMOVE)).resolution == REMOVE


async def test_an_account_can_be_dismissed_but_not_removed(world: World) -> None:
    accounts: Any = AccountServiceStub(world.platform.channels.graph)
    request = SignUpRequest(username="anna", password="correct horse")
    made = await world.platform.peer.call(accounts.SignUp, request, AS_SERVICE)
    report = await world.report(USER, made.credentials.account.id)
    error = await refusal(world.resolve(report, REMOVE))
    assert [(v.field, v.code) for v in error.violations] == [("resolution", UserCode.INVALID)]
    assert (await world.resolve(report, DISMISS)).resolution == DISMISS


async def test_the_same_decision_again_changes_nothing_and_another_is_a_conflict(world: World) -> None:
    report = await world.report(VIDEO, 5)
    await world.resolve(report, DISMISS)
    assert (await world.resolve(report, DISMISS)).resolution == DISMISS
    error = await refusal(world.resolve(report, REMOVE))
    assert [(v.field, v.code) for v in error.violations] == [("report_id", UserCode.CONFLICT)]
    assert len(await world.events()) == 1
    unknown = pb.Report(id=12345)
    assert (await refusal(world.resolve(unknown, DISMISS))).reason is Reason.NOT_FOUND


async def test_keys_answer_as_at_first_and_are_not_reused(world: World) -> None:
    first = await world.report(VIDEO, 5, key=KEY)
    decided = await world.resolve(first, REMOVE, KEY)
    assert await world.report(VIDEO, 5, key=KEY) == first
    assert await world.resolve(first, REMOVE, KEY) == decided
    assert (await refusal(world.report(VIDEO, 5, reason="other", key=KEY))).user_code is UserCode.KEY_REUSED


async def test_open_reports_come_page_by_page_oldest_first(world: World) -> None:
    made = [(await world.report(VIDEO, 5, by=n)).id for n in range(1, 6)]
    listed, token = [], ""
    while True:
        request = pb.ListReportsRequest(page_size=2, page_token=token)
        page = await world.platform.peer.call(world.stub.ListReports, request, world.boss)
        listed += [report.id for report in page.reports]
        token = page.next_page_token
        if not token:
            break
    assert listed == made
    assert (await refusal(world.open(page_token="nonsense"))).reason is Reason.BAD_USER_INPUT
