"""Watches: recorded once, capped by what is possible, counted, remembered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from feed_svc.settings import FeedSettings
from feed_svc.watches.commands import ReportedWatch
from feed_svc.watches.counting import CountedViews
from feed_svc.watches.plausible import Judged, judge
from feed_svc.watches.queries import WatchQueries
from feed_svc.watches.stores.sql import SqlWatchLog
from feed_svc.watches.stores.sql_history import SqlWatchHistory
from feed_svc.watches.wiring import build_watches
from svc_kit.bus.relay import OutboxRelay
from svc_kit.bus.runner import caught_up
from svc_kit.caller import Caller
from svc_kit.clock import SystemClock
from svc_kit.counters import CounterStore
from svc_kit.errors import AppError, Reason
from svc_kit.paging import TokenSigner
from tests.support.feed_fakes import VIEWER, Bench, feed_bench, small_world

ME = Caller(user_id=VIEWER)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with feed_bench(tmp_path) as made:
        small_world(made.world, 10)
        yield made


def watch(video_id: int = 1000, watched_ms: int = 4000, **options: object) -> ReportedWatch:
    return replace(ReportedWatch(str(uuid.uuid4()), video_id, watched_ms), **options)  # type: ignore[arg-type]


def queries(bench: Bench) -> WatchQueries:
    counters = CounterStore(bench.context.db, bench.world.clock, "views")
    log, histories = SqlWatchLog(bench.context.uow), SqlWatchHistory(bench.context.db)
    return WatchQueries(log, histories, CountedViews(counters), TokenSigner(b"s", "t"))


async def views(bench: Bench, *video_ids: int, viewer: int = VIEWER) -> list[int]:
    return [count for _, count in await queries(bench).view_counts(viewer, video_ids)]


async def entities(bench: Bench) -> list[str]:
    async with bench.context.db.read() as connection:
        return list((await connection.exec_driver_sql("SELECT entity FROM outbox ORDER BY seq")).scalars())


async def test_each_watch_id_counts_once_in_whatever_batch_and_spelling(bench: Bench) -> None:
    one, two = watch(), watch()
    shouted = replace(one, watch_id=one.watch_id.upper())
    bare = replace(one, watch_id=one.watch_id.replace("-", ""))
    first = await bench.watching.record_watches(ME, [one, shouted, bare])
    second = await bench.watching.record_watches(ME, [one, two, two])
    assert (first.accepted_count, second.accepted_count) == (3, 3)
    assert await entities(bench) == [f"watch:{VIEWER}:{one.watch_id}", f"watch:{VIEWER}:{two.watch_id}"]
    assert await views(bench, 1000) == [2]
    other = await bench.watching.record_watches(Caller(user_id=2), [one])
    assert other.accepted_count == 1
    assert len(await entities(bench)) == 3


async def test_the_same_watches_at_the_same_time_count_once(bench: Bench) -> None:
    batch = [watch() for _ in range(5)]
    results = await asyncio.gather(*(bench.watching.record_watches(ME, batch) for _ in range(8)))
    assert [result.accepted_count for result in results] == [5] * 8
    assert len(await entities(bench)) == 5


async def test_a_bad_watch_is_named_and_the_others_count(bench: Bench) -> None:
    page = await bench.page()
    mine, other = page.edges[0], page.edges[1]
    theirs = (await bench.page(viewer=2)).edges[0]
    result = await bench.watching.record_watches(
        ME,
        [
            watch(),
            watch(watch_id="not-a-uuid"),
            watch(watch_id=""),
            watch(video_id=777),
            watch(video_id=0),
            watch(watched_ms=-1),
            watch(edge_cursor="forged"),
            watch(theirs.video_id, edge_cursor=theirs.cursor),
            watch(other.video_id, edge_cursor=mine.cursor),
            watch(mine.video_id, edge_cursor=mine.cursor),
        ],
    )
    assert result.accepted_count == 2
    assert [(r.index, r.field, r.code) for r in result.rejected] == [
        (1, "watch_id", "INVALID"),
        (2, "watch_id", "REQUIRED"),
        (3, "video_id", "NOT_FOUND"),
        (4, "video_id", "NOT_FOUND"),
        (5, "watched_ms", "INVALID"),
        (6, "edge_cursor", "INVALID"),
        (7, "edge_cursor", "INVALID"),
        (8, "edge_cursor", "INVALID"),
    ]
    assert all(r.message for r in result.rejected)
    assert len(await entities(bench)) == 2


async def test_a_watch_that_stands_stays_when_its_video_is_gone(bench: Bench) -> None:
    one = watch()
    await bench.watching.record_watches(ME, [one])
    del bench.world.videos[1000]
    assert (await bench.watching.record_watches(ME, [one])).accepted_count == 1
    assert (await bench.watching.record_watches(ME, [watch()])).accepted_count == 0


async def test_a_blocked_authors_video_can_not_be_watched(bench: Bench) -> None:
    bench.world.block(bench.world.videos[1000].author_id, VIEWER)
    result = await bench.watching.record_watches(ME, [watch()])
    assert [r.code for r in result.rejected] == ["NOT_FOUND"]


async def test_the_same_key_answers_as_at_first(bench: Bench) -> None:
    caller = replace(ME, method="/m", idempotency_key="k" * 16, input_digest=b"d" * 32)
    batch = [watch(), watch(video_id=777)]
    first = await bench.watching.record_watches(caller, batch)
    assert await bench.watching.record_watches(caller, batch) == first
    with pytest.raises(AppError):
        await bench.watching.record_watches(replace(caller, input_digest=b"e" * 32), batch)


async def test_it_needs_a_viewer(bench: Bench) -> None:
    with pytest.raises(AppError) as caught:
        await bench.watching.record_watches(Caller(), [watch()])
    assert caught.value.reason is Reason.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("watched_ms", "hints", "expected"),
    [
        (4000, {}, Judged(4000, False, False)),
        (4750, {}, Judged(4750, True, False)),
        (4000, {"completed_hint": True}, Judged(4000, True, False)),
        (3000, {"completed_hint": True}, Judged(3000, False, False)),
        (10**9, {}, Judged(50_000, True, False)),
        (10**9, {"age_ms": 0}, Judged(50_000, True, False)),
        (1000, {}, Judged(1000, False, True)),
        (2000, {"skipped_hint": True}, Judged(2000, False, True)),
        (4000, {"skipped_hint": True}, Judged(4000, False, False)),
        (5000, {"skipped_hint": True}, Judged(5000, True, False)),
        (0, {}, Judged(0, False, True)),
    ],
)
def test_a_watch_is_capped_and_its_hints_are_weighed(watched_ms: int, hints: dict[str, int], expected: Judged) -> None:
    options = {"duration_ms": 5000, "age_ms": 10**9, "completed_hint": False, "skipped_hint": False} | hints
    assert judge(watched_ms, settings=FeedSettings(), **options) == expected  # type: ignore[arg-type]


def test_nobody_watches_a_video_for_longer_than_it_exists() -> None:
    judged = judge(
        10**9,
        duration_ms=60_000,
        age_ms=30_000,
        completed_hint=False,
        skipped_hint=False,
        settings=FeedSettings(),
    )
    assert judged.watched_ms == 90_000


async def test_history_has_each_video_once_the_last_watched_first(bench: Bench) -> None:
    await bench.watch(1000, 1001, 1002, 1000)
    await bench.watching.record_watches(ME, [watch(1003), watch(1004)])
    page = await queries(bench).history(VIEWER, 2, "")
    assert [entry.video_id for entry, _ in page.entries] == [1004, 1003]
    assert page.has_more
    rest = await queries(bench).history(VIEWER, 10, page.entries[-1][1])
    assert [entry.video_id for entry, _ in rest.entries] == [1000, 1002, 1001]
    assert not rest.has_more
    with pytest.raises(AppError):
        await queries(bench).history(2, 10, page.entries[-1][1])
    assert (await queries(bench).history(2, 10, "")).entries == []


async def test_views_are_counted_once_after_replays_and_rebuilds_and_at_once_for_the_viewer(bench: Bench) -> None:
    domain = await build_watches(bench.context, bench.world, bench.feeds.cursors, bench.feeds.acted)
    await bench.watch(1000, 1000, 1001)
    assert await views(bench, 1000, 1001, 1002) == [2, 1, 0]
    assert await views(bench, 1000, viewer=2) == [0]
    relay = OutboxRelay(bench.context.db, bench.platform.bus, bench.world.clock)
    await relay.flush()
    tasks = [asyncio.ensure_future(job.run()) for job in domain.workers]
    await caught_up(bench.platform.bus, "feed.counters", ["watch"], SystemClock(), 10)
    assert await views(bench, 1000, 1001, viewer=2) == [2, 1]
    assert await views(bench, 1000, 1001) == [2, 1]
    assert await domain.rebuilds["view_counters"]() == 2
    assert await views(bench, 1000, 1001, viewer=2) == [2, 1]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
