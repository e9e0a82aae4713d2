"""FeedService and WatchService over gRPC, with their workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from feed_svc.build import build
from feed_svc.schema import metadata
from feed_svc.watches.wiring import build_watches
from reelgraph.feed.v1.feeds_pb2 import (
    FEED_KIND_FOLLOWING,
    FeedReasonKind,
    GetFeedRequest,
    MarkNotInterestedRequest,
)
from reelgraph.feed.v1.feeds_pb2_grpc import FeedServiceStub
from reelgraph.feed.v1.watches_pb2 import BatchGetViewCountsRequest, RecordWatchesRequest, Watch
from reelgraph.feed.v1.watches_pb2_grpc import WatchServiceStub
from svc_kit.caller import Caller
from svc_kit.errors import AppError, Reason
from svc_kit.service import Service
from tests.support.feed_fakes import VIEWER, Bench, feed_bench, small_world
from tests.support.platform import create_tables, test_platform


class Client:
    """Stubs and the bench behind them."""

    def __init__(self, bench: Bench, feeds: FeedServiceStub, watches: WatchServiceStub) -> None:
        self.bench, self.feeds, self.watches = bench, feeds, watches
        self.viewer = bench.platform.tokens.viewer(VIEWER)

    async def call(self, method: object, request: object, caller: Caller | None = None) -> Any:
        return await self.bench.platform.peer.call(method, request, caller or self.viewer)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with feed_bench(tmp_path) as bench:
        small_world(bench.world)
        await bench.publish()
        feeds = bench.feeds
        watches = await build_watches(bench.context, bench.world, feeds.cursors, feeds.acted)
        service = Service("feed", servicers=[*feeds.servicers, *watches.servicers])
        async with bench.platform.serve(service) as channel:
            yield Client(bench, FeedServiceStub(channel), WatchServiceStub(channel))


async def test_a_page_over_grpc_carries_ids_cursors_and_reasons(client: Client) -> None:
    page = await client.call(client.feeds.GetFeed, GetFeedRequest(page_size=3))
    assert len(page.edges) == 3
    assert page.has_next_page
    kinds = {edge.reason.kind for edge in page.edges}
    assert FeedReasonKind.FEED_REASON_KIND_UNSPECIFIED not in kinds


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (GetFeedRequest(cursor="forged"), Reason.BAD_USER_INPUT),
        (GetFeedRequest(page_size=101), Reason.BAD_USER_INPUT),
        (GetFeedRequest(page_size=-1), Reason.BAD_USER_INPUT),
        (GetFeedRequest(kind=FEED_KIND_FOLLOWING), Reason.UNAUTHENTICATED),
    ],
)
async def test_a_bad_request_is_refused(client: Client, request_: GetFeedRequest, reason: Reason) -> None:
    with pytest.raises(AppError) as caught:
        await client.call(client.feeds.GetFeed, request_, Caller())
    assert caught.value.reason is reason


async def test_not_interested_is_idempotent_and_for_good(client: Client) -> None:
    page = await client.call(client.feeds.GetFeed, GetFeedRequest())
    refused = page.edges[2].video_id
    request = MarkNotInterestedRequest(video_id=refused, idempotency_key="k" * 16)
    for _ in range(3):
        answer = await client.call(client.feeds.MarkNotInterested, request)
        assert answer.video_id == refused
    await client.call(client.feeds.MarkNotInterested, MarkNotInterestedRequest(video_id=refused))
    again = await client.call(client.feeds.GetFeed, GetFeedRequest(page_size=100))
    assert refused not in [edge.video_id for edge in again.edges]
    async with client.bench.context.db.read() as connection:
        entities = (await connection.exec_driver_sql("SELECT entity FROM outbox")).scalars().all()
    assert entities == [f"not_interested:{VIEWER}:{refused}"]


async def test_what_one_may_not_see_can_not_be_refused(client: Client) -> None:
    with pytest.raises(AppError) as caught:
        await client.call(client.feeds.MarkNotInterested, MarkNotInterestedRequest(video_id=424242))
    assert caught.value.reason is Reason.NOT_FOUND
    with pytest.raises(AppError) as caught:
        await client.call(client.feeds.MarkNotInterested, MarkNotInterestedRequest(video_id=1000), Caller())
    assert caught.value.reason is Reason.UNAUTHENTICATED


async def test_a_watch_from_an_edge_keeps_its_place(client: Client) -> None:
    page = await client.call(client.feeds.GetFeed, GetFeedRequest())
    edge = page.edges[4]
    watch = Watch(
        watch_id="6f1c0f5e-5d3e-4f55-9a59-0f1f6a3b7c11",
        video_id=edge.video_id,
        watched_ms=4000,
        edge_cursor=edge.cursor,
    )
    answer = await client.call(client.watches.RecordWatches, RecordWatchesRequest(watches=[watch]))
    assert answer.accepted_count == 1
    counts = await client.call(client.watches.BatchGetViewCounts, BatchGetViewCountsRequest(video_ids=[edge.video_id]))
    assert counts.counts[0].view_count == 1
    async with client.bench.context.db.read() as connection:
        row = (await connection.exec_driver_sql("SELECT snapshot_id, position FROM watches")).one()
    assert tuple(row) == (page.snapshot_id, 4)


async def test_the_whole_service_builds_from_a_platform(tmp_path: Path) -> None:
    async with test_platform(tmp_path) as platform, AsyncExitStack() as stack:
        await create_tables(platform, "feed", metadata)
        service = await build(platform, stack)
        names = {servicer.descriptor.name for servicer in service.servicers}
        assert {"FeedService", "WatchService"} <= names
        assert {"inboxes", "author_timelines", "view_counters"} <= set(service.rebuilds)
        jobs = [job.name for job in service.workers]
        assert len(set(jobs)) == len(jobs)
        for check in service.checks.values():
            await check()
