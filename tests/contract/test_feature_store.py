"""The contract of `rank_svc.features.store.FeatureStore`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rank_svc.features.decay import DAY_MS, HOUR_MS, heat_of, join, sum_at
from rank_svc.features.store import (
    BucketStats,
    Changes,
    VideoFacts,
    VideoState,
    VideoStats,
    Viewer,
)
from rank_svc.features.stores.sql import SqlFeatureStore
from rank_svc.schema import metadata
from tests.support.databases import DATABASES, opened_database

NOW = 1_800_000_000_000


@pytest.fixture(params=DATABASES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlFeatureStore]:
    async with opened_database(request.param, tmp_path, metadata) as db:
        yield SqlFeatureStore(db)


def video(video_id: int, *, at: int = NOW, deleted: bool = False, published: bool = True, **facts: Any) -> VideoState:
    made = VideoFacts(video_id, 7, ("cats", "日本"), "de", "PUBLIC", 9_000, True, NOW - video_id)
    return VideoState(replace(made, **facts), 3, published, deleted, at)


async def put(store: SqlFeatureStore, *states: VideoState) -> None:
    async with store.begin() as tx:
        await tx.put_videos(states)


async def add(store: SqlFeatureStore, changes: Changes) -> None:
    async with store.begin() as tx:
        await tx.add(changes)


async def test_a_video_is_read_as_it_was_put_and_a_second_put_replaces_it(store: SqlFeatureStore) -> None:
    await put(store, video(1), video(2))
    await put(store, video(2, visibility="PRIVATE", at=NOW + 1))

    async with store.begin() as tx:
        found = await tx.videos([1, 2, 3])

    assert found == {1: video(1), 2: video(2, visibility="PRIVATE", at=NOW + 1)}


async def test_one_read_answers_facts_counts_and_followers_and_leaves_out_unknown_and_deleted(
    store: SqlFeatureStore,
) -> None:
    await put(store, video(1), video(2, deleted=True), video(3))
    await add(store, Changes(videos={1: VideoStats(views=2, ratio_sum=1.5, heat_1h=4.0)}, followers={7: 5}))

    found = await store.read([3, 2, 1, 99])

    assert set(found) == {1, 3}
    assert found[1].facts == video(1).facts
    assert (found[1].stats, found[1].author_followers) == (VideoStats(views=2, ratio_sum=1.5, heat_1h=4.0), 5)
    assert found[3].stats == VideoStats()


async def test_counts_add_up_and_heats_join(store: SqlFeatureStore) -> None:
    await put(store, video(1))
    for _ in range(3):
        heat = heat_of(1.0, NOW, HOUR_MS)
        changes = Changes(
            videos={1: VideoStats(likes=1, heat_1h=heat)},
            buckets={2: BucketStats(1, 1, 900, 0.5)},
            slices={(1, "*"): 2.0},
        )
        await add(store, changes)

    stats = (await store.read([1]))[1].stats

    assert stats.likes == 3
    assert sum_at(stats.heat_1h, NOW + HOUR_MS, HOUR_MS) == pytest.approx(1.5)
    assert await store.buckets() == {2: BucketStats(3, 3, 2700, 1.5)}
    assert (await store.popular("*", 5))[0][1] == pytest.approx(join(join(2.0, 2.0), 2.0))


async def test_a_count_that_went_below_zero_is_read_as_zero_and_recovers(store: SqlFeatureStore) -> None:
    await put(store, video(1))
    await add(store, Changes(videos={1: VideoStats(likes=-1)}))
    below = (await store.read([1]))[1].stats.likes
    await add(store, Changes(videos={1: VideoStats(likes=2)}))

    assert (below, (await store.read([1]))[1].stats.likes) == (0, 1)


async def test_a_key_is_claimed_once(store: SqlFeatureStore) -> None:
    async with store.begin() as tx:
        first = await tx.claim({1: NOW, -(2**63): NOW})
    async with store.begin() as tx:
        second = await tx.claim({1: NOW, 2: NOW})

    assert (first, second) == ({1, -(2**63)}, {2})


async def test_what_fails_half_way_leaves_nothing(store: SqlFeatureStore) -> None:
    with pytest.raises(RuntimeError):
        async with store.begin() as tx:
            await tx.claim({1: NOW})
            await tx.put_videos([video(1)])
            raise RuntimeError

    async with store.begin() as tx:
        assert await tx.claim({1: NOW}) == {1}
        assert await tx.videos([1]) == {}


async def test_changes_come_in_order_of_time_and_id_above_the_mark(store: SqlFeatureStore) -> None:
    await put(store, video(3, at=10), video(1, at=20), video(2, at=10, deleted=True))

    whole = await store.changed_videos((0, -1), 10)
    rest = await store.changed_videos((10, 2), 10)

    assert [state.facts.video_id for state in whole] == [2, 3, 1]
    assert [state.facts.video_id for state in rest] == [3, 1]
    assert len(await store.changed_videos((0, -1), 1)) == 1


async def test_only_servable_videos_are_popular_young_or_newest(store: SqlFeatureStore) -> None:
    states = [video(1), video(2, visibility="FOLLOWERS"), video(3, deleted=True), video(4, published=False), video(5)]
    await put(store, *states)
    await add(
        store,
        Changes(
            slices={(i, "r:FR"): heat_of(i, NOW, DAY_MS) or 0.0 for i in (1, 2, 3, 4, 5)},
            videos={1: VideoStats(impressions=4)},
        ),
    )

    assert [i for i, _ in await store.popular("r:FR", 9)] == [5, 1]
    assert await store.popular("r:DE", 9) == []
    assert await store.young(0, 5, 9) == [(5, 0), (1, 4)]
    assert await store.young(0, 4, 9) == [(5, 0)]
    assert await store.young(NOW - 3, 5, 9) == [(1, 4)]
    assert await store.young(0, 5, 9, impressions_from=1) == [(1, 4)]
    assert await store.newest(9) == [1, 5]
    assert await store.newest(1) == [1]


async def test_of_young_videos_shown_as_often_the_one_that_waits_longest_comes_first(store: SqlFeatureStore) -> None:
    await put(store, video(1), video(2), video(3))
    await add(store, Changes(videos={3: VideoStats(impressions=1)}))

    assert await store.young(0, 5, 9) == [(2, 0), (1, 0), (3, 1)]


async def test_what_a_viewer_told_stays_when_their_history_changes(store: SqlFeatureStore) -> None:
    told = Viewer(("cats", "日本"), 4, "de", "AT", -11, "phone")
    async with store.begin() as tx:
        await tx.put_viewers({1: told}, NOW)
        await tx.touch_viewers([1, 5], NOW + 5)

    assert await store.viewers([1, 2, 5]) == {1: told, 5: Viewer()}
    assert await store.changed_viewers((NOW, 1), 9) == [(NOW + 5, 1), (NOW + 5, 5)]


async def test_a_forgotten_viewer_told_nothing_and_is_marked_as_changed(store: SqlFeatureStore) -> None:
    async with store.begin() as tx:
        await tx.put_viewers({1: Viewer(("cats",), 4, "de", "AT", 2)}, NOW)
        await tx.forget_viewer(1, NOW + 9)

    assert (await store.viewers([1]))[1].interests == ()
    assert (NOW + 9, 1) in await store.changed_viewers((0, -1), 9)


async def test_clearing_leaves_the_videos_alone(store: SqlFeatureStore) -> None:
    await put(store, video(1))
    await add(store, Changes(videos={1: VideoStats(views=2)}, slices={(1, "*"): 1.0}, followers={7: 1}))
    async with store.begin() as tx:
        await tx.claim({1: NOW})
        await tx.clear()

    (record,) = (await store.read([1])).values()
    assert (record.stats, record.author_followers) == (VideoStats(), 0)
    assert await store.popular("*", 5) == []
    async with store.begin() as tx:
        assert await tx.claim({1: NOW}) == {1}
