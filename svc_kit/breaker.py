"""A circuit breaker: failures within a window open it, one probe at a time closes it again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from svc_kit.clock import Clock
from svc_kit.errors import AppError, Reason

R = TypeVar("R")

_FAULTS = {Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.INTERNAL}


class CircuitOpen(AppError):
    """The call was not made: the breaker is open."""

    def __init__(self, name: str) -> None:
        super().__init__(Reason.UNAVAILABLE, f"{name} is not available at the moment.", retry_after_ms=1000)


class Breaker:
    """Guards calls to one dependency.

    `failures` within `window_s` seconds open it for `open_s` seconds; then a single call probes, and closes or reopens
    it. Cancellation and the caller's own errors (bad input, not found) are no failures; a deadline of the call is, and
    so is a call that its caller gives up after `slow_s` seconds. `forgiving`: a success that began after the newest
    failure makes all of them forgotten, so that only what answers nobody is open, not what fails now and then.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        *,
        failures: int = 10,
        window_s: float = 60.0,
        open_s: float = 30.0,
        slow_s: float = float("inf"),
        forgiving: bool = False,
    ) -> None:
        self.name = name
        self._clock = clock
        self._limit = failures
        self._window_s = window_s
        self._open_s = open_s
        self._slow_s = slow_s
        self._forgiving = forgiving
        self._all_failures = 0
        self._failed_at: deque[float] = deque(maxlen=failures)
        self._opened_at: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether a call made now would be refused."""
        if self._opened_at is None:
            return False
        return self._probing or self._clock.monotonic() - self._opened_at < self._open_s

    @property
    def is_closed(self) -> bool:
        """Whether a call made now would be one of many, neither refused nor a probe."""
        return self._opened_at is None

    async def call(self, body: Callable[[], Awaitable[R]], *, deadline_s: float, slow_s: float | None = None) -> R:
        """Run `body` within `deadline_s`; raises `CircuitOpen` at once when open, DEADLINE_EXCEEDED when late, else
        what `body` raises. `slow_s`: another one for this call."""
        if self.is_open:
            raise CircuitOpen(self.name)
        probe = self._probing = self._opened_at is not None
        began, failures_before = self._clock.monotonic(), self._all_failures
        try:
            async with asyncio.timeout(deadline_s):
                result = await body()
        except TimeoutError as error:
            self._failed(probe)
            raise AppError(Reason.DEADLINE_EXCEEDED, f"{self.name} took too long.") from error
        except Exception as error:
            if not isinstance(error, AppError) or error.reason in _FAULTS:
                self._failed(probe)
            else:
                self._answered(probe, failures_before)
            raise
        except BaseException:
            if self._clock.monotonic() - began >= (self._slow_s if slow_s is None else slow_s):
                self._failed(probe)
            self._probing = self._probing and not probe
            raise
        self._answered(probe, failures_before)
        return result

    def _answered(self, probe: bool, failures_before: int) -> None:
        if probe:
            self._close()
        elif self._forgiving and failures_before == self._all_failures:
            self._failed_at.clear()

    def _failed(self, probe: bool) -> None:
        now = self._clock.monotonic()
        self._failed_at.append(now)
        self._all_failures += 1
        full = len(self._failed_at) == self._limit and now - self._failed_at[0] <= self._window_s
        if probe or full:
            self._opened_at = now
        if probe:
            self._probing = False

    def _close(self) -> None:
        self._opened_at = None
        self._probing = False
        self._failed_at.clear()
