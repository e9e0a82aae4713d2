"""The most followed accounts: the same for everybody, so read once a while, whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from graph_svc.follows.store import FollowGraph
from svc_kit.clock import Clock
from svc_kit.errors import AppError
from svc_kit.telemetry import log

KEPT_S: Final = 30.0
AGAIN_S: Final = 3.0
"""So long after a failure it is tried again."""
_log = log(__name__)


class PopularAccounts:
    """(account, followers), most first: at most half a minute old, older while they can't be read."""

    def __init__(self, graph: FollowGraph, clock: Clock, limit: int) -> None:
        self._graph = graph
        self._clock = clock
        self._limit = limit
        self._kept: Sequence[tuple[int, int]] = ()
        self._due_at = float("-inf")
        self._one = asyncio.Lock()

    async def get(self) -> Sequence[tuple[int, int]]:
        """Never fails: without any, suggestions for better reasons remain."""
        if self._kept and self._one.locked():
            return self._kept
        async with self._one:
            if self._clock.monotonic() >= self._due_at:
                await self._refresh()
        return self._kept

    async def _refresh(self) -> None:
        kept_s = KEPT_S
        try:
            self._kept = await self._graph.popular(self._limit)
        except AppError as error:
            _log.warning("the most followed accounts can't be read", error=str(error))
            kept_s = AGAIN_S
        self._due_at = self._clock.monotonic() + kept_s
