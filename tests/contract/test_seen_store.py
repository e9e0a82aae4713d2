"""The contract of `feed_svc.feeds.store.SeenStore`, for every adapter over the real watch log."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from feed_svc.feeds.store import SeenStore
from feed_svc.feeds.stores.seen_cache import CachedSeenStore
from feed_svc.feeds.stores.sql import DAY_MS, SqlSeenStore
from feed_svc.schema import metadata
from feed_svc.watches.stores.tables import watch_history
from svc_kit.cache import Cache
from svc_kit.clock import now_ms
from svc_kit.db import Database, upsert
from tests.support.cache import CACHES, empty_cache
from tests.support.databases import DATABASES, opened_database
from tests.support.platform import BenchPlatform, test_platform

ME, OTHER = 1, 2
DAYS = 30


class Seen:
    """A store and the watches behind it."""

    def __init__(self, store: SeenStore, db: Database, platform: BenchPlatform, cache: Cache) -> None:
        self.store, self.db, self.platform, self.cache = store, db, platform, cache

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


@pytest.fixture(params=[*DATABASES, *CACHES])
async def seen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Seen]:
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(test_platform(tmp_path))
        is_sql = request.param in ("sqlite", "postgres", "mysql")
        engine = request.param if is_sql else "sqlite"
        db = await stack.enter_async_context(opened_database(engine, tmp_path, metadata))
        truth = SqlSeenStore(db, platform.clock, days=DAYS)
        if is_sql:
            yield Seen(truth, db, platform, platform.cache)
        else:
            cache = await stack.enter_async_context(empty_cache(request.param))
            yield Seen(CachedSeenStore(truth, cache, platform.clock, exact=100, days=DAYS), db, platform, cache)


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
    await seen.cache.flushall()
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
