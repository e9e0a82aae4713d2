"""A database that does not answer is asked once in a while, not by everybody: calls fail at once until it answers.

Without this a silent server holds every request until its own deadline, and with it whoever waits for that one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from svc_kit.databases.errors import Unreachable, unreachable

FAILURES: Final = 3
"""In a row, with no answer between them."""
OPEN_S: Final = 1.0
SLOW_S: Final = 0.5
"""A call that its caller gives up after this long counts as one that was not answered."""


class Guard:
    """`async with guard:` around each use of the database. After `FAILURES` unanswered ones in a row it refuses all
    (UNAVAILABLE) for `OPEN_S`, then lets one through to see. `failures`: another number of them; infinity: never."""

    def __init__(self, now: Callable[[], float] = time.monotonic, failures: float = FAILURES) -> None:
        self._now = now
        self._limit = failures
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether a call made now would be refused."""
        if self._opened_at is None:
            return False
        return self._probing or self._now() - self._opened_at < OPEN_S

    def use(self) -> _Use:
        """One use. Raises UNAVAILABLE at once while the database does not answer."""
        if self.is_open:
            raise unreachable(ConnectionError("it did not answer a moment ago"))
        probe = self._opened_at is not None
        self._probing = probe
        return _Use(self, probe, self._now())

    def end(self, use: _Use, error: BaseException | None) -> None:
        """What came of a use."""
        if use.probe:
            self._probing = False
        if error is None or not self._is_silence(error, self._now() - use.began):
            if not isinstance(error, asyncio.CancelledError):
                self._failures, self._opened_at = 0, None
            return
        self._failures += 1
        if use.probe or self._failures >= self._limit:
            self._opened_at = self._now()

    def _is_silence(self, error: BaseException, took_s: float) -> bool:
        if isinstance(error, asyncio.CancelledError):
            return took_s >= SLOW_S
        return isinstance(error, Unreachable)


class _Use:
    """A context: its end tells the guard."""

    __slots__ = ("_guard", "began", "probe")

    def __init__(self, guard: Guard, probe: bool, began: float) -> None:
        self._guard = guard
        self.probe = probe
        self.began = began

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.end(self, error)
