"""Wake-ups, on every cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from svc_kit.cache import Cache, open_cache
from svc_kit.clock import SystemClock
from svc_kit.wakeups import Wakeups
from tests.support.cache import CACHES, empty_cache
from tests.support.clock import FakeClock


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    async with empty_cache(request.param) as cache:
        yield cache


async def test_a_wake_up_reaches_every_listener_of_its_topic_and_no_other(cache: Cache) -> None:
    wakeups, sender = Wakeups(cache, FakeClock()), Wakeups(cache, FakeClock())
    async with wakeups.listen("a") as first, wakeups.listen("a") as second, wakeups.listen("b") as other:
        for listener in (first, second, other):
            assert await listener.wait(60)  # Subscribed.
        await sender.wake(["a"])
        assert await first.wait(60)
        assert await second.wait(60)
        assert not other.event.is_set()
    await wakeups.close()


async def test_a_topic_listened_to_again_wakes_again(cache: Cache) -> None:
    wakeups = Wakeups(cache, SystemClock())
    for _ in range(3):
        async with wakeups.listen("a") as listener:
            assert await listener.wait(10)
            await wakeups.wake(["a"])
            assert await listener.wait(10)
    await wakeups.close()


async def test_many_topics_wake_each_their_own(cache: Cache) -> None:
    wakeups = Wakeups(cache, SystemClock())
    async with asyncio.TaskGroup() as group:
        ready = asyncio.Semaphore(0)

        async def listen(topic: str) -> None:
            async with wakeups.listen(topic) as listener:
                assert await listener.wait(30)
                ready.release()
                assert await listener.wait(30)

        tasks = {topic: group.create_task(listen(topic)) for topic in map(str, range(40))}
        for _ in tasks:
            await ready.acquire()
        for topic in tasks:
            assert not tasks[topic].done()
            await wakeups.wake([topic])
            await tasks[topic]
    await wakeups.close()


async def test_without_a_wake_up_a_listener_returns_when_its_time_is_over(cache: Cache) -> None:
    clock = FakeClock()
    wakeups = Wakeups(cache, clock)
    async with wakeups.listen("a") as listener:
        await listener.wait(1)
        waiting = asyncio.create_task(listener.wait(2))
        while not clock.sleepers:
            await asyncio.sleep(0)
        clock.advance(2)
        assert not await waiting
    await wakeups.close()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis-cluster://127.0.0.1:1,127.0.0.1:2"])
async def test_a_cache_that_fails_wakes_listeners_to_look_for_themselves(url: str) -> None:
    clock = FakeClock()
    cache = await open_cache(url, clock)
    wakeups = Wakeups(cache, clock)
    await wakeups.wake(["a"])
    async with wakeups.listen("a") as listener:
        assert await listener.wait(60)
    await wakeups.close()
    await cache.aclose()
