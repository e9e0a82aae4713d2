"""The contract of `feed_svc.feeds.store.SnapshotStore`, for every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from feed_svc.feeds.store import SnapshotStore, StoredSnapshot
from feed_svc.feeds.stores.redis import RedisSnapshotStore
from svc_kit.cache import Cache
from tests.support.cache import CACHES, empty_cache

OWNERS = ["u17", "c00ff00ff00ff00ff"]


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    async with empty_cache(request.param) as cache:
        yield cache


@pytest.fixture
def store(cache: Cache) -> SnapshotStore:
    return RedisSnapshotStore(cache, ttl_s=60, per_owner=3)


def snapshot(name: str, version: int = 1) -> StoredSnapshot:
    return StoredSnapshot(name, version, f"{name}@{version}".encode() + b"\x00\xff")


@pytest.mark.parametrize("owner", OWNERS)
async def test_what_was_saved_is_there_and_belongs_to_its_owner(store: SnapshotStore, owner: str) -> None:
    assert await store.current(owner) is None
    assert await store.save(owner, snapshot("a"), expected=0, current=True)
    assert await store.get(owner, "a") == snapshot("a")
    assert await store.current(owner) == snapshot("a")
    assert await store.get("u99", "a") is None


async def test_a_cache_that_missed_saves_takes_the_next_one(store: SnapshotStore) -> None:
    await store.save("u1", snapshot("a", 5), expected=0, current=True)
    assert await store.save("u1", snapshot("a", 9), expected=7, current=False)
    assert await store.get("u1", "a") == snapshot("a", 9)


async def test_only_the_expected_version_is_replaced(store: SnapshotStore) -> None:
    await store.save("u1", snapshot("a", 5), expected=0, current=True)
    assert not await store.save("u1", snapshot("a", 9), expected=4, current=False)
    assert await store.get("u1", "a") == snapshot("a", 5)
    assert await store.save("u1", snapshot("a", 9), expected=5, current=False)
    assert await store.get("u1", "a") == snapshot("a", 9)


async def test_one_of_many_writers_wins(store: SnapshotStore) -> None:
    await store.save("u1", snapshot("a", 1), expected=0, current=True)
    saves = [store.save("u1", snapshot("a", 2 + i), expected=1, current=False) for i in range(10)]
    assert sum(await asyncio.gather(*saves)) == 1


async def test_a_lost_one_may_be_saved_again(store: SnapshotStore, cache: Cache) -> None:
    await store.save("u1", snapshot("a", 5), expected=0, current=True)
    await cache.flushall()
    assert await store.current("u1") is None
    assert await store.save("u1", snapshot("a", 6), expected=5, current=False)
    assert await store.get("u1", "a") == snapshot("a", 6)


async def test_the_newest_is_current_and_the_oldest_give_way(store: SnapshotStore) -> None:
    for name in "abcd":
        await store.save("u1", snapshot(name), expected=0, current=True)
    assert await store.current("u1") == snapshot("d")
    assert [await store.get("u1", name) is not None for name in "abcd"] == [False, True, True, True]
    await store.save("u1", snapshot("b", 2), expected=1, current=False)
    assert await store.current("u1") == snapshot("d")
