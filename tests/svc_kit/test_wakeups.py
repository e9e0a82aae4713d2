from __future__ import annotations

import asyncio

from svc_kit.cache import open_cache
from svc_kit.clock import SystemClock
from svc_kit.wakeups import Wakeups
from tests.support.clock import FakeClock


async def test_a_wake_up_reaches_every_listener_of_its_topic_and_no_other() -> None:
    cache = await open_cache("memory://")
    wakeups, sender = Wakeups(cache, FakeClock()), Wakeups(cache, FakeClock())
    async with wakeups.listen("a") as first, wakeups.listen("a") as second, wakeups.listen("b") as other:
        for listener in (first, second, other):
            assert await listener.wait(60)  # Subscribed.
        await sender.wake(["a"])
        assert await first.wait(60)
        assert await second.wait(60)
        assert not other.event.is_set()
    await wakeups.close()
    await cache.aclose()


async def test_a_topic_listened_to_again_wakes_again() -> None:
    cache = await open_cache("memory://")
    wakeups = Wakeups(cache, SystemClock())
    for _ in range(3):
        async with wakeups.listen("a") as listener:
            assert await listener.wait(10)
            await wakeups.wake(["a"])
            assert await listener.wait(10)
    await wakeups.close()
    await cache.aclose()


async def test_without_a_wake_up_a_listener_returns_when_its_time_is_over() -> None:
    cache, clock = await open_cache("memory://"), FakeClock()
    wakeups = Wakeups(cache, clock)
    async with wakeups.listen("a") as listener:
        await listener.wait(1)
        waiting = asyncio.create_task(listener.wait(2))
        while not clock.sleepers:
            await asyncio.sleep(0)
        clock.advance(2)
        assert not await waiting
    await wakeups.close()
    await cache.aclose()


async def test_a_cache_that_fails_wakes_listeners_to_look_for_themselves() -> None:
    cache, clock = await open_cache("redis://127.0.0.1:1"), FakeClock()
    wakeups = Wakeups(cache, clock)
    await wakeups.wake(["a"])
    async with wakeups.listen("a") as listener:
        assert await listener.wait(60)
    await wakeups.close()
    await cache.aclose()
