"""Rate limits by a sliding window, counted exactly, on every cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from svc_kit.cache import Cache
from svc_kit.errors import AppError, Reason
from svc_kit.limits import Limit, RateLimiter
from tests.support.cache import CACHES, empty_cache, keys, take_down
from tests.support.clock import FakeClock

LIMIT = Limit("test", 3, 600, "Too many.")


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    async with empty_cache(request.param) as cache:
        yield cache


async def refused_for_ms(limiter: RateLimiter, subject: str = "a") -> int | None:
    with pytest.raises(AppError) as refused:
        await limiter.take(LIMIT, subject)
    assert refused.value.reason is Reason.RATE_LIMITED
    return refused.value.retry_after_ms


async def test_no_window_holds_more_than_the_limit(cache: Cache) -> None:
    clock = FakeClock()
    limiter = RateLimiter(cache, clock)
    for _ in range(3):
        await limiter.take(LIMIT, "a")
        clock.advance(100)
    assert await refused_for_ms(limiter) == 300_000
    await limiter.take(LIMIT, "b")
    clock.advance(300)
    await limiter.take(LIMIT, "a")
    assert await refused_for_ms(limiter) == 100_000


async def test_what_is_given_back_does_not_count(cache: Cache) -> None:
    limiter = RateLimiter(cache, FakeClock())
    for _ in range(5):
        await limiter.give_back(await limiter.take(LIMIT, "a"))
    for _ in range(3):
        await limiter.take(LIMIT, "a")
    await refused_for_ms(limiter)


async def test_refused_tries_do_not_put_off_the_next_chance(cache: Cache) -> None:
    clock = FakeClock()
    limiter = RateLimiter(cache, clock)
    for _ in range(3):
        await limiter.take(LIMIT, "a")
    for _ in range(5):
        clock.advance(100)
        await refused_for_ms(limiter)
    clock.advance(100)
    await limiter.take(LIMIT, "a")


async def test_many_at_once_are_counted_one_by_one(cache: Cache) -> None:
    limiter = RateLimiter(cache, FakeClock())
    answers = await asyncio.gather(*(limiter.take(LIMIT, "a") for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(answer, AppError) for answer in answers) == 17


async def test_keys_are_short_and_expire(cache: Cache) -> None:
    await RateLimiter(cache, FakeClock()).take(LIMIT, "203.0.113.7" * 100)
    (key,) = await keys(cache)
    assert len(key) < 80
    assert 0 < await cache.call(key, "PTTL") <= 600_000


async def test_without_the_cache_everything_is_allowed(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    take_down(cache, monkeypatch)
    limiter = RateLimiter(cache, FakeClock())
    for _ in range(5):
        await limiter.give_back(await limiter.take(LIMIT, "a"))


async def test_a_lost_cache_begins_a_new_window(cache: Cache) -> None:
    limiter = RateLimiter(cache, FakeClock())
    for _ in range(3):
        await limiter.take(LIMIT, "a")
    await cache.flushall()
    for _ in range(3):
        await limiter.take(LIMIT, "a")
    await refused_for_ms(limiter)
