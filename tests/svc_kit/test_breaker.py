"""The circuit breaker."""

from __future__ import annotations

import asyncio

import pytest

from svc_kit.breaker import Breaker, CircuitOpen
from svc_kit.errors import AppError, Reason, not_found, unavailable
from tests.support.clock import FakeClock


async def fail() -> None:
    raise unavailable("down")


async def succeed() -> str:
    return "fine"


def make(clock: FakeClock) -> Breaker:
    return Breaker("x", clock, failures=3, window_s=60, open_s=30)


async def fails(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(AppError):
            await breaker.call(fail, deadline_s=1)


async def test_failures_within_the_window_open_it() -> None:
    clock = FakeClock()
    breaker = make(clock)
    await fails(breaker, 2)
    clock.advance(61)
    await fails(breaker, 2)
    assert not breaker.is_open
    await fails(breaker, 1)
    assert breaker.is_open
    with pytest.raises(CircuitOpen):
        await breaker.call(succeed, deadline_s=1)


async def test_one_probe_closes_it_and_a_failing_one_opens_it_again() -> None:
    clock = FakeClock()
    breaker = make(clock)
    await fails(breaker, 3)
    clock.advance(31)
    await fails(breaker, 1)
    assert breaker.is_open
    clock.advance(31)
    release = asyncio.Event()

    async def probe() -> str:
        await release.wait()
        return "fine"

    probing = asyncio.create_task(breaker.call(probe, deadline_s=5))
    await asyncio.sleep(0)
    assert breaker.is_open
    release.set()
    assert await probing == "fine"
    assert not breaker.is_open
    await fails(breaker, 2)
    assert not breaker.is_open


async def test_the_callers_own_errors_and_cancellations_are_no_failures() -> None:
    breaker = make(FakeClock())

    async def absent() -> None:
        raise not_found("id", "video")

    for _ in range(5):
        with pytest.raises(AppError):
            await breaker.call(absent, deadline_s=1)
        waiting = asyncio.create_task(breaker.call(asyncio.Event().wait, deadline_s=5))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert not breaker.is_open


async def test_a_cancelled_probe_lets_the_next_one_through() -> None:
    clock = FakeClock()
    breaker = make(clock)
    await fails(breaker, 3)
    clock.advance(31)
    probing = asyncio.create_task(breaker.call(asyncio.Event().wait, deadline_s=5))
    await asyncio.sleep(0)
    probing.cancel()
    await asyncio.gather(probing, return_exceptions=True)
    assert await breaker.call(succeed, deadline_s=1) == "fine"


async def test_late_is_failed() -> None:
    breaker = make(FakeClock())
    for _ in range(3):
        with pytest.raises(AppError) as caught:
            await breaker.call(asyncio.Event().wait, deadline_s=0.001)
        assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    assert breaker.is_open


async def test_a_call_that_its_caller_gave_up_after_long_is_failed() -> None:
    clock = FakeClock()
    breaker = Breaker("x", clock, failures=1, slow_s=3)
    for waited, is_failure in ((2, False), (3, True)):
        task = asyncio.create_task(breaker.call(asyncio.Event().wait, deadline_s=100))
        await asyncio.sleep(0)
        clock.advance(waited)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert breaker.is_closed != is_failure


def forgiving(clock: FakeClock) -> Breaker:
    return Breaker("x", clock, failures=3, window_s=30, open_s=1, forgiving=True)


async def test_a_forgiving_one_stays_closed_while_one_call_in_a_hundred_fails() -> None:
    clock = FakeClock()
    breaker = forgiving(clock)
    for count in range(3_000):
        clock.advance(0.01)
        if count % 100 == 99:
            await fails(breaker, 1)
        else:
            assert await breaker.call(succeed, deadline_s=1) == "fine"
        assert breaker.is_closed


async def test_a_success_that_began_before_the_newest_failure_forgives_nothing() -> None:
    breaker = forgiving(FakeClock())
    release = asyncio.Event()
    old = asyncio.create_task(breaker.call(release.wait, deadline_s=5))
    await asyncio.sleep(0)
    await fails(breaker, 2)
    release.set()
    await old
    await fails(breaker, 1)
    assert breaker.is_open


async def test_a_call_may_have_its_own_patience() -> None:
    clock = FakeClock()
    breaker = Breaker("x", clock, failures=1, slow_s=3)
    for waited, is_failure in ((29, False), (30, True)):
        task = asyncio.create_task(breaker.call(asyncio.Event().wait, deadline_s=100, slow_s=30))
        await asyncio.sleep(0)
        clock.advance(waited)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert breaker.is_closed != is_failure
