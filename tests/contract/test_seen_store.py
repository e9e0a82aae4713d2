"""The contract of `feed_svc.feeds.store.SeenStore`, for every adapter over the real watch log."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from feed_svc.feeds.store import SeenStore
from feed_svc.feeds.stores.seen_cache import CachedSeenStore
from feed_svc.feeds.stores.sql import DAY_MS, SqlSeenStore
from feed_svc.schema import metadata
from feed_svc.watches.stores.tables import watch_history
from svc_kit.clock import now_ms
from svc_kit.db import Database, connect, upsert
from tests.support.platform import BenchPlatform, create_tables, test_platform

ME, OTHER = 1, 2
DAYS = 30


class Seen:
    """A store and the watches behind it."""

    def __init__(self, store: SeenStore, db: Database, platform: BenchPlatform) -> None:
        self.store, self.db, self.platform = store, db, platform

    async def watch(self, video_ids: Iterable[int], *, user: int = ME, days_ago: float = 0) -> None:
        start = now_ms(self.platform.clock) - int(days_ago * DAY_MS)
        rows = [
            {"user_id": user, "video_id": video_id, "watched_at_ms": start + i, "watched_ms": 1}
            for i, video_id in enumerate(video_ids)
        ]
        async with self.db.write() as connection:
            for first in range(0, len(rows), 200):
                statement = upsert(
                    self.db,
                    watch_history,
                    rows[first : first + 200],
                    key=["user_id", "video_id"],
                    update=["watched_at_ms"],
                )
                await connection.execute(statement)


@pytest.fixture(params=["sql", "cached"])
async def seen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Seen]:
    async with test_platform(tmp_path) as platform:
        await create_tables(platform, "feed", metadata)
        db = connect(platform.settings.service_db_url("feed"))
        truth = SqlSeenStore(db, platform.clock, days=DAYS)
        cached = CachedSeenStore(truth, platform.cache, platform.clock, exact=100, days=DAYS)
        yield Seen(cached if request.param == "cached" else truth, db, platform)
        await db.close()


async def test_what_was_watched_is_seen_at_once_and_by_its_viewer_alone(seen: Seen) -> None:
    assert await seen.store.among(ME, [1, 2, 3]) == frozenset()
    await seen.watch([1, 2])
    assert await seen.store.among(ME, [1, 2, 3]) == {1, 2}
    await seen.watch([3])
    assert await seen.store.among(ME, [1, 2, 3]) == {1, 2, 3}
    assert await seen.store.among(OTHER, [1, 2, 3]) == frozenset()


async def test_nothing_seen_is_ever_missed_and_hardly_anything_is_seen_by_mistake(seen: Seen) -> None:
    random_ids = random.Random(7)
    watched = [random_ids.getrandbits(62) for _ in range(3000)]
    await seen.watch(watched, days_ago=1)
    assert await seen.store.among(ME, watched) == frozenset(watched)
    await seen.watch(watched[:150])
    others = [random_ids.getrandbits(62) for _ in range(10_000)]
    for _ in range(2):
        assert await seen.store.among(ME, watched) == frozenset(watched)
        assert len(await seen.store.among(ME, others)) <= 10


async def test_it_survives_the_loss_of_the_cache(seen: Seen) -> None:
    await seen.watch([1])
    await seen.store.among(ME, [1])
    await seen.platform.cache.flushall()
    assert await seen.store.among(ME, [1, 2]) == {1}


async def test_what_was_watched_longer_ago_than_the_days_is_not_seen(seen: Seen) -> None:
    await seen.watch([1], days_ago=DAYS + 1)
    await seen.watch([2], days_ago=DAYS - 1)
    assert await seen.store.among(ME, [1, 2]) == {2}
    assert await seen.store.newest(ME, 10) == [2]


async def test_newest_and_oldest_are_in_the_order_of_the_last_watch(seen: Seen) -> None:
    await seen.watch([1, 2, 3], days_ago=3)
    await seen.watch([4], days_ago=DAYS + 5)
    await seen.watch([1], days_ago=1)
    assert list(await seen.store.newest(ME, 2)) == [1, 3]
    assert list(await seen.store.oldest(ME, 3)) == [4, 2, 3]


async def test_many_ids_may_be_asked(seen: Seen) -> None:
    await seen.watch(range(0, 4000, 2))
    assert await seen.store.among(ME, range(1, 4001, 2)) <= set(range(4001))
    assert await seen.store.among(ME, range(0, 4000, 2)) == frozenset(range(0, 4000, 2))
