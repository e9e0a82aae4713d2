"""Running builds: one at a time for a key, a bounded number in a process, the rest shed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from svc_kit.errors import AppError, Reason, unavailable
from svc_kit.telemetry import log

R = TypeVar("R")
_log = log(__name__)


class Builds:
    """Single flight with a limit. Work goes on when those who wait for it have left."""

    def __init__(self, concurrent: int, waiting: int) -> None:
        self._places = asyncio.Semaphore(concurrent)
        self._most = concurrent + waiting
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, key: Hashable, work: Callable[[], Awaitable[R]], *, wait_s: float | None = None) -> R:
        """The result of `work`, or of the one that runs for `key` already. Raises UNAVAILABLE when there are too many,
        DEADLINE_EXCEEDED after `wait_s` (the work goes on)."""
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= self._most:
                raise unavailable("Too many feeds are being built.")
            task = asyncio.create_task(self._limited(work))
            self._running[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        done, _ = await asyncio.wait({task}, timeout=wait_s)
        if not done:
            raise AppError(Reason.DEADLINE_EXCEEDED, "Building the feed takes too long.")
        result: R = task.result()
        return result

    async def close(self) -> None:
        """Cancel what runs."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _limited(self, work: Callable[[], Awaitable[R]]) -> R:
        async with self._places:
            return await work()

    def _done(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._running[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("a feed was not built", key=str(key), error=str(error))
