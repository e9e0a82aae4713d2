"""A database that does not answer is asked once in a while; one that answers, whatever it answers, is asked."""

from __future__ import annotations

import asyncio

import pytest

from svc_kit.databases.errors import Conflicted, Unreachable
from svc_kit.databases.guard import FAILURES, OPEN_S, SLOW_S, Guard
from svc_kit.errors import AppError, Reason, not_found, unavailable


class Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.guard = Guard(lambda: self.now)

    def use(self, error: BaseException | None = None, takes_s: float = 0.0) -> bool:
        """Whether a use was let through; it ends as told."""
        try:
            with self.guard.use():
                self.now += takes_s
                if error is not None:
                    raise error
        except AppError as raised:
            if raised is not error:
                assert raised.reason is Reason.UNAVAILABLE and raised.retry_after_ms
                return False
        except BaseException as raised:
            assert raised is error
        return True

    def fail(self, times: int) -> None:
        for _ in range(times):
            assert self.use(Unreachable())


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_refuses_after_failures_in_a_row_and_lets_one_through_later(bench: Bench) -> None:
    bench.fail(FAILURES)
    assert not bench.use()
    bench.now += OPEN_S
    assert bench.use(Unreachable())
    assert not bench.use()
    bench.now += OPEN_S
    assert bench.use()
    assert bench.use()


def test_only_one_looks_whether_it_is_back(bench: Bench) -> None:
    bench.fail(FAILURES)
    bench.now += OPEN_S
    with bench.guard.use():
        assert not bench.use()
    assert bench.use()


@pytest.mark.parametrize(
    "answer",
    [None, not_found("id", "video"), unavailable("something else is away"), Conflicted(), ValueError("a defect")],
)
def test_any_answer_between_failures_starts_the_count_anew(bench: Bench, answer: BaseException | None) -> None:
    for _ in range(4):
        bench.fail(FAILURES - 1)
        assert bench.use(answer)
    assert not bench.guard.is_open


def test_callers_that_gave_up_waiting_count_as_failures(bench: Bench) -> None:
    for _ in range(FAILURES):
        assert bench.use(asyncio.CancelledError(), takes_s=SLOW_S)
    assert not bench.use()


def test_callers_that_went_away_at_once_say_nothing(bench: Bench) -> None:
    for _ in range(10 * FAILURES):
        assert bench.use(asyncio.CancelledError())
    assert not bench.guard.is_open


def test_a_look_that_was_cancelled_at_once_lets_the_next_one_look(bench: Bench) -> None:
    bench.fail(FAILURES)
    bench.now += OPEN_S
    assert bench.use(asyncio.CancelledError())
    assert bench.use()
    assert not bench.guard.is_open
