"""Watch histories and author timelines in Cassandra, from commands through the workers to what is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path

import pytest

from feed_svc.fanout.commands import FanoutRebuilds
from feed_svc.fanout.stores import cassandra as timelines
from feed_svc.fanout.stores.sql import SqlActivityStore
from feed_svc.watches.counting import CountedViews
from feed_svc.watches.queries import RECENT_WATCHES, WatchQueries
from feed_svc.watches.stores import cassandra as histories
from feed_svc.watches.stores.sql import SqlWatchLog
from feed_svc.watches.wiring import Watches, build_watches
from feed_svc.watches.worker import GROUP, TOPICS
from svc_kit.bus.relay import OutboxRelay
from svc_kit.bus.runner import caught_up
from svc_kit.cassandra.shared import lease
from svc_kit.clock import SystemClock
from svc_kit.counters import CounterStore
from svc_kit.paging import TokenSigner
from svc_kit.service import Service
from tests.support.engines import servers
from tests.support.feed_fakes import VIEWER, Bench, feed_bench, small_world
from tests.support.platform import running
from tests.support.wide import empty_tables

TABLES = (*histories.TABLES, *timelines.TABLES)


@pytest.fixture(params=servers("cassandra"))
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with feed_bench(tmp_path, wide_url=await empty_tables(TABLES)) as made:
        small_world(made.world, 20)
        yield made


@asynccontextmanager
async def watching(bench: Bench) -> AsyncIterator[tuple[Watches, WatchQueries]]:
    domain = await build_watches(bench.context, bench.world, bench.feeds.cursors, bench.feeds.acted)
    counters = CounterStore(bench.context.db, bench.world.clock, "views")
    store = await histories.open(bench.platform.settings.wide_url, clock=bench.world.clock, keep_days=365)
    log = SqlWatchLog(bench.context.uow)
    yield domain, WatchQueries(log, store, CountedViews(counters), TokenSigner(b"s", "t"))
    await store.close()


async def project(bench: Bench, domain: Watches) -> None:
    """Let the workers handle all that was recorded."""
    await OutboxRelay(bench.context.db, bench.platform.bus, bench.world.clock).flush()
    async with running(Service("feed", servicers=[], workers=domain.workers)):
        await caught_up(bench.platform.bus, GROUP, TOPICS, SystemClock(), 20)


async def pages(queries: WatchQueries, size: int) -> list[list[int]]:
    found, token = [], ""
    while True:
        page = await queries.history(VIEWER, size, token)
        found.append([entry.video_id for entry, _ in page.entries])
        if not page.has_more:
            return found
        token = page.entries[-1][1]


async def test_a_watch_is_in_the_viewers_history_before_and_after_the_worker_came_by(bench: Bench) -> None:
    async with watching(bench) as (domain, queries):
        await bench.watch(1000, 1001, 1002, 1000)
        assert await pages(queries, 2) == [[1000, 1002], [1001]]
        await project(bench, domain)
        assert await pages(queries, 2) == [[1000, 1002], [1001]]
        await bench.watch(1001, 1003)
        for size in (1, 2, 3, 4, 10):
            assert list(chain(*await pages(queries, size))) == [1003, 1001, 1000, 1002]
        assert (await queries.history(2, 10, "")).entries == []


async def test_a_page_taken_before_the_worker_came_by_continues_after_it(bench: Bench) -> None:
    async with watching(bench) as (domain, queries):
        await bench.watch(*range(1000, 1010))
        await project(bench, domain)
        await bench.watch(1010, 1003, 1011)
        first = await queries.history(VIEWER, 4, "")
        await project(bench, domain)
        rest = await queries.history(VIEWER, 20, first.entries[-1][1])
        whole = [entry.video_id for page in (first, rest) for entry, _ in page.entries]
        assert whole == [1011, 1003, 1010, *(i for i in range(1009, 999, -1) if i != 1003)]


async def test_a_lost_history_is_made_again_from_the_truth(bench: Bench) -> None:
    async with watching(bench) as (domain, queries):
        for _ in range(3):
            await bench.watch(*range(1000, 1020))
        await project(bench, domain)
        before = await pages(queries, 7)
        leased = await lease(bench.platform.settings.wide_url)
        for table in histories.TABLES:
            await leased.rows.define(f"TRUNCATE {table.name}")
        await leased.close()
        assert RECENT_WATCHES > 60  # the newest come from the truth anyhow
        assert await domain.rebuilds["watch_history"]() == 60
        assert await domain.rebuilds["watch_history"]() == 60
        assert await pages(queries, 7) == before
        store = await histories.open(bench.platform.settings.wide_url, clock=bench.world.clock, keep_days=365)
        assert [e.video_id for e in (await store.page(VIEWER, 50)).entries] == list(chain(*before))
        await store.close()


async def test_lost_timelines_are_made_again_from_the_videos_that_there_are(bench: Bench) -> None:
    await bench.publish()
    world, fanout = bench.world, bench.fanout
    before = await fanout.timelines.newest_public(50)
    assert len(before) == 20
    rebuilds = FanoutRebuilds(
        *(fanout.timelines, fanout.followed, SqlActivityStore(bench.context.uow), world, world),
        *(bench.context.settings, world.clock),
    )
    world.clock.advance(1)
    assert await rebuilds.author_timelines() == 20
    assert await fanout.timelines.newest_public(50) == before
    leased = await lease(bench.platform.settings.wide_url)
    for table in timelines.TABLES:
        await leased.rows.define(f"TRUNCATE {table.name}")
    await leased.close()
    assert await fanout.timelines.newest_public(50) == []
    await rebuilds.author_timelines()
    assert await fanout.timelines.newest_public(50) == before
    world.clock.advance(1)
    del world.videos[1000]
    assert await rebuilds.author_timelines() == 19
    assert [entry for entry in before if entry.post.video_id != 1000] == await fanout.timelines.newest_public(50)


async def test_a_feed_is_served_over_timelines_in_cassandra(bench: Bench) -> None:
    bench.world.follow(VIEWER, 100)
    await bench.publish()
    page = await bench.page()
    assert page.edges
    posts = await bench.fanout.followed.newest(VIEWER, frozenset({100}), 10)
    assert [post.video_id for post in posts] == [1000, 1008, 1016]
