"""What the cache knows of sessions, and who is told of their end, on every cache."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from graph_svc.accounts.stores.redis import RedisRevocations
from svc_kit.cache import Cache, CacheError, open_cache
from svc_kit.errors import AppError, Reason
from svc_kit.sessions import ACTIVE_FOR_S, REVOKED_FOR_S, SessionCache
from tests.support.cache import CACHES, empty_cache, keys, take_down


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    async with empty_cache(request.param) as cache:
        yield cache


async def test_states_are_known_once_remembered(cache: Cache) -> None:
    sessions = SessionCache(cache)
    assert await sessions.known([1, 2]) == {}
    await sessions.remember({1: True, 2: False})
    assert await sessions.known([1, 2, 3]) == {1: True, 2: False}
    assert await sessions.known([]) == {}


async def test_a_late_reader_does_not_bring_a_revoked_session_back(cache: Cache) -> None:
    sessions = SessionCache(cache)
    await sessions.remember({1: True})
    await sessions.revoke([1, 2])
    await sessions.remember({1: True, 2: True})
    assert await sessions.known([1, 2]) == {1: False, 2: False}


async def test_what_is_known_ends_by_itself_active_states_soon(cache: Cache) -> None:
    sessions = SessionCache(cache)
    await sessions.remember({1: True})
    (key,) = await keys(cache)
    assert 0 < await cache.call(key, "TTL") <= ACTIVE_FOR_S
    await sessions.revoke([1])
    assert ACTIVE_FOR_S < await cache.call(key, "TTL") <= REVOKED_FOR_S


async def test_after_a_loss_nothing_is_known(cache: Cache) -> None:
    sessions = SessionCache(cache)
    await sessions.revoke([1])
    await cache.flushall()
    assert await sessions.known([1]) == {}


async def test_without_the_cache_the_caller_is_told(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = SessionCache(cache)
    take_down(cache, monkeypatch)
    with pytest.raises(CacheError):
        await sessions.known([1])
    with pytest.raises(CacheError):
        await sessions.remember({1: True})


async def test_who_watches_is_told_of_revocations(cache: Cache) -> None:
    revocations = RedisRevocations(cache)
    async with revocations.watch() as told, revocations.watch() as also:
        await revocations.publish([7])
        await revocations.publish([8, 9])
        for watcher in (told, also):
            assert [await anext(watcher) for _ in range(3)] == [7, 8, 9]


async def test_a_revocation_counts_also_when_nobody_can_be_told(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    take_down(cache, monkeypatch)
    await RedisRevocations(cache).publish([7])


async def test_a_watcher_whose_cache_is_away_is_told_so() -> None:
    cache = await open_cache("redis://127.0.0.1:1")
    with pytest.raises(AppError) as failure:
        async with RedisRevocations(cache).watch():
            pass
    assert failure.value.reason is Reason.UNAVAILABLE
    await cache.aclose()
