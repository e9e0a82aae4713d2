"""The contract of `feed_svc.trending.store.SnapshotCache`, on every cache."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from feed_svc.trending.store import Ranked, Snapshot
from feed_svc.trending.stores.redis import RedisSnapshotCache
from svc_kit.cache import Cache
from svc_kit.errors import AppError, Reason
from tests.support.cache import CACHES, empty_cache, keys, take_down

LISTS = [Snapshot("a", [Ranked(2**62, 7, 0.1), Ranked(1, 2**62, -3.5e300)]), Snapshot("b", [])]


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    async with empty_cache(request.param) as cache:
        yield cache


async def test_a_list_is_found_again_as_it_was_for_its_time(cache: Cache) -> None:
    store = RedisSnapshotCache(cache)
    for snapshot in LISTS:
        await store.save(snapshot, 60)
        assert await store.load(snapshot.snapshot_id) == snapshot
    for key in await keys(cache):
        assert 0 < await cache.call(key, "PTTL") <= 60_000


async def test_a_lost_list_is_absent(cache: Cache) -> None:
    store = RedisSnapshotCache(cache)
    await store.save(LISTS[0], 60)
    await cache.flushall()
    assert await store.load("a") is None


async def test_without_the_cache_the_caller_is_told(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RedisSnapshotCache(cache)
    take_down(cache, monkeypatch)
    for attempt in (store.save(LISTS[0], 60), store.load("a")):
        with pytest.raises(AppError) as failure:
            await attempt
        assert failure.value.reason is Reason.UNAVAILABLE
