"""What every store of trending must do; run against each adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from feed_svc.schema import metadata, outbox, replies
from feed_svc.trending.store import Act, Bucket, Ranked, TrendingStore, TrendingVideo
from feed_svc.trending.stores.sql import SqlTrendingStore
from reelgraph.events.v1.video_pb2 import VideoViral
from svc_kit.caller import Caller
from svc_kit.clock import now_ms
from svc_kit.ids import IdGenerator
from svc_kit.uow import UnitOfWork
from tests.support.clock import FakeClock
from tests.support.databases import DATABASES, opened_database

JOB = Caller(is_service=True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=DATABASES)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> AsyncIterator[TrendingStore]:
    async with opened_database(request.param, tmp_path, metadata) as db:
        yield SqlTrendingStore(UnitOfWork(db, outbox, replies, IdGenerator(clock), clock))


def video(id_: int, version: int = 1, *, shown: bool = True, author_id: int = 9, at_ms: int = 5) -> TrendingVideo:
    return TrendingVideo(id_, author_id, version, shown, at_ms)


async def put(store: TrendingStore, *videos: TrendingVideo) -> None:
    async with store.begin(JOB) as tx:
        await tx.put_videos(videos)


async def rank(store: TrendingStore, ranks: dict[int, float]) -> None:
    async with store.begin(JOB) as tx:
        await tx.set_ranks(ranks)


async def test_the_top_holds_shown_videos_by_rank_and_then_newest_id(store: TrendingStore) -> None:
    await put(store, *(video(n, author_id=n * 10) for n in (1, 2, 3, 4)), video(5, shown=False))
    await rank(store, {1: 2.5, 2: 7.25, 3: 2.5, 4: -3.0, 5: 99.0, 6: 1.0})
    assert await store.top(10) == [Ranked(2, 20, 7.25), Ranked(3, 30, 2.5), Ranked(1, 10, 2.5), Ranked(4, 40, -3.0)]
    assert [entry.video_id for entry in await store.top(2)] == [2, 3]
    assert {type(entry.rank) for entry in await store.top(10)} == {float}


async def test_a_lower_version_changes_nothing_and_a_change_keeps_the_rank(store: TrendingStore) -> None:
    await put(store, video(1, 2, at_ms=7))
    await rank(store, {1: 4.0})
    await put(store, video(1, 1, shown=False))
    async with store.begin(JOB) as tx:
        assert await tx.lock_videos([1, 2]) == {1: video(1, 2, at_ms=7)}
    await put(store, video(1, 3, shown=False))
    await put(store, video(1, 2))
    assert await store.top(10) == []
    await put(store, video(1, 4))
    assert await store.top(10) == [Ranked(1, 9, 4.0)]


async def test_acts_are_kept_by_entity(store: TrendingStore) -> None:
    first, other = Act("like:1:2", 1, 2, 100, 0, 2000), Act("watch:1:x", 1, 2, 101, 1, 340, 90)
    async with store.begin(JOB) as tx:
        assert await tx.acts(["like:1:2"]) == {}
        await tx.put_acts([first, other])
    again = Act("like:1:2", 2, 2, 105, 0, 0)
    async with store.begin(JOB) as tx:
        await tx.put_acts([again])
        assert await tx.acts(["like:1:2", "watch:1:x", "none"]) == {"like:1:2": again, "watch:1:x": other}


async def test_buckets_add_up_and_are_read_from_a_time_on(store: TrendingStore) -> None:
    async with store.begin(JOB) as tx:
        await tx.add(1, [Bucket(10, 2, 500), Bucket(11, 1, 100, 7)])
        await tx.add(2, [Bucket(10, 1, 1)])
    async with store.begin(JOB) as tx:
        await tx.add(1, [Bucket(11, 3, -50, 5)])
        assert dict(await tx.buckets([1, 2, 3], 11)) == {1: [Bucket(11, 4, 50, 12)]}
        assert dict(await tx.buckets([1], 0)) == {1: [Bucket(10, 2, 500), Bucket(11, 4, 50, 12)]}


async def test_a_recount_makes_buckets_agree_with_the_acts(store: TrendingStore) -> None:
    async with store.begin(JOB) as tx:
        await tx.add(1, [Bucket(10, 9, 9), Bucket(20, 7, 7), Bucket(22, 1, 1)])
        await tx.put_acts([Act("a", 1, 1, 20, 1, 300, 40), Act("b", 1, 1, 20, 1, 200), Act("c", 1, 1, 21, 0, 50, 2)])
        await tx.recount([1], 20)
        assert dict(await tx.buckets([1], 0)) == {1: [Bucket(10, 9, 9), Bucket(20, 2, 500, 40), Bucket(21, 0, 50, 2)]}


async def test_views_of_a_time_come_most_viewed_first_without_the_unviewed(store: TrendingStore) -> None:
    async with store.begin(JOB) as tx:
        await tx.add(1, [Bucket(10, 5, 0), Bucket(11, 2, 0)])
        await tx.add(2, [Bucket(11, 3, 0)])
        await tx.add(3, [Bucket(11, 0, 900)])
        await tx.add(4, [Bucket(9, 50, 0)])
    assert await store.views_since(10) == [(1, 7), (2, 3)]


async def test_changed_views_of_known_videos_come_in_the_order_of_change(
    store: TrendingStore, clock: FakeClock
) -> None:
    await put(store, video(1), video(2, author_id=8))
    began = now_ms(clock)
    for video_id, views in ((2, 4), (1, 1), (7, 3), (1, 2)):
        clock.advance(1)
        async with store.begin(JOB) as tx:
            await tx.add(video_id, [Bucket(10, views, 0)])
    changed = await store.views_changed(began, 10)
    assert [(v.video_id, v.author_id, v.views, v.changed_at_ms - began) for v in changed] == [
        (2, 8, 4, 1000),
        (1, 9, 3, 4000),
    ]
    assert [v.video_id for v in await store.views_changed(began + 2000, 10)] == [1]
    assert [v.video_id for v in await store.views_changed(began, 1)] == [2]


async def test_a_video_is_marked_viral_once_and_only_while_shown(store: TrendingStore) -> None:
    await put(store, video(1, 3), video(2, shown=False))
    async with store.begin(JOB) as tx:
        assert await tx.mark_viral(1) == video(1, 3)
        tx.emit(entity="video:1", version=3, actor_id=9, video_viral=VideoViral(video_id=1))
        assert await tx.mark_viral(2) is None
    await put(store, video(1, 4))
    async with store.begin(JOB) as tx:
        assert (await tx.mark_viral(1), await tx.mark_viral(404)) == (None, None)


async def test_what_is_not_listed_any_more_is_hidden_unless_put_meanwhile(
    store: TrendingStore, clock: FakeClock
) -> None:
    await put(store, *(video(n) for n in range(1, 7)))
    clock.advance(1)
    began = now_ms(clock)
    await put(store, video(5, 2))
    assert await store.hide_unlisted(1, 5, [2, 4], began) == 1
    assert sorted(entry.video_id for entry in await store.top(10)) == [1, 2, 4, 5, 6]
    assert await store.ids_after(2, 3) == [3, 4, 5]


async def test_pruning_removes_what_is_old_in_portions(store: TrendingStore) -> None:
    async with store.begin(JOB) as tx:
        await tx.put_acts([Act(f"watch:{n}", 1, 1, n, 1, 1) for n in range(10)])
        await tx.add(1, [Bucket(n, 1, 1) for n in range(10)])
    assert await store.prune(4, 3) == 6
    assert await store.prune(4, 3) == 2
    assert await store.prune(4, 3) == 0
    async with store.begin(JOB) as tx:
        assert len(await tx.acts([f"watch:{n}" for n in range(10)])) == 6
        assert [bucket.bucket for bucket in (await tx.buckets([1], 0))[1]] == [4, 5, 6, 7, 8, 9]


async def test_a_transaction_that_fails_leaves_nothing(store: TrendingStore) -> None:
    await put(store, video(1))
    with pytest.raises(RuntimeError):
        async with store.begin(JOB) as tx:
            await tx.add(1, [Bucket(1, 1, 1)])
            await tx.set_ranks({1: 50.0})
            raise RuntimeError("killed")
    assert (await store.views_since(0), await store.top(1)) == ([], [Ranked(1, 9, 0.0)])
