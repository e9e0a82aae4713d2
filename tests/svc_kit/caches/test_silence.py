"""What those who use the cache do while its server is silent: one deadline for all of them together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from graph_svc.accounts.stores.redis import RedisRevocations
from svc_kit.cache import Cache, CacheError, open_cache
from svc_kit.caches.metrics import FAILURES
from svc_kit.counter_cache import CachedCounters
from svc_kit.counters import CounterStore, Key
from svc_kit.errors import AppError
from svc_kit.limits import Limit, RateLimiter
from svc_kit.sessions import SessionCache
from svc_kit.wakeups import Wakeups
from tests.support.clock import FakeClock
from tests.support.redis_servers import OwnServer, own_server

pytestmark = [pytest.mark.servers, pytest.mark.engine("redis"), pytest.mark.xdist_group("redis")]


class Truth(CounterStore):
    """Everything has been counted seven times."""

    def __init__(self) -> None:
        self.asked = 0

    async def totals(self, keys: Sequence[Key]) -> dict[Key, int]:
        self.asked += 1
        return dict.fromkeys(keys, 7)


@pytest.fixture
async def server() -> AsyncIterator[OwnServer]:
    async with own_server() as server:
        yield server


@pytest.fixture
async def cache(server: OwnServer) -> AsyncIterator[Cache]:
    cache = await open_cache(f"{server.url}?timeout_ms=200", FakeClock())
    yield cache
    await cache.aclose()


async def test_nobody_is_refused_nothing_is_wrong_and_one_deadline_is_paid(cache: Cache, server: OwnServer) -> None:
    clock = FakeClock()
    limiter, counters, sessions = RateLimiter(cache, clock), CachedCounters(Truth(), cache), SessionCache(cache)
    limit = Limit("test", 1, 600, "Too many.")
    await limiter.take(limit, "a")
    with pytest.raises(AppError):
        await limiter.take(limit, "a")
    await counters.totals([(1, "likes")])
    await sessions.remember({1: True})
    server.pause()
    for _ in range(20):
        await limiter.give_back(await limiter.take(limit, "a"))
        assert await counters.totals([(1, "likes")]) == {(1, "likes"): 7}
        await counters.invalidate([1])
        with pytest.raises(CacheError):
            await sessions.known([1])
        await RedisRevocations(cache).publish([1])
        await Wakeups(cache, clock).wake(["a"])
    assert FAILURES.labels(f"127.0.0.1:{server.port}", "timeout")._value.get() == 1
    server.resume()


async def test_many_callers_at_once_wait_one_deadline_side_by_side(cache: Cache, server: OwnServer) -> None:
    truth = Truth()
    counters = CachedCounters(truth, cache)
    await counters.totals([(1, "likes")])
    server.pause()
    found: list[Mapping[Key, int]] = await asyncio.gather(*(counters.totals([(n, "likes")]) for n in range(200)))
    assert all(totals == {(n, "likes"): 7} for n, totals in enumerate(found))
    assert truth.asked == 201
    server.resume()
