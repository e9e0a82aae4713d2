"""Ranking tails anew off the request path, soon after the viewer acted."""

from __future__ import annotations

import asyncio

from feed_svc.feeds.queries import ForYou
from feed_svc.feeds.shelf import Shelf
from feed_svc.feeds.store import ClientHints
from feed_svc.feeds.viewers import Viewer
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.telemetry import log

MOST_WAITING = 10_000
CONCURRENT = 4
USED_WITHIN_MS = 3600 * 1000

_log = log(__name__)


class Refresher:
    """Viewers whose next page should be ranked anew. Forgetting one costs time, not truth: the page looks, too."""

    def __init__(self, feed: ForYou, shelf: Shelf, clock: Clock) -> None:
        self._feed = feed
        self._shelf = shelf
        self._clock = clock
        self._waiting: dict[int, None] = {}
        self._called = asyncio.Event()

    def poke(self, viewer_id: int) -> None:
        """The viewer acted. Never waits."""
        if viewer_id and len(self._waiting) < MOST_WAITING:
            self._waiting[viewer_id] = None
            self._called.set()

    async def run(self) -> None:
        """Refresh until cancelled, a few viewers at once."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self._called.wait()
            while self._waiting:
                viewer_id = next(iter(self._waiting))
                del self._waiting[viewer_id]
                await self.refresh(viewer_id)
            self._called.clear()

    async def refresh(self, viewer_id: int) -> None:
        """Rank the tail of the viewer's current snapshot for what they did, if anybody still reads it."""
        viewer = Viewer(viewer_id, ClientHints())
        try:
            snapshot = await self._shelf.current(viewer.owner)
            if snapshot is None or now_ms(self._clock) - snapshot.tail_at_ms > USED_WITHIN_MS:
                return
            viewer = Viewer(viewer_id, snapshot.client)
            state = await self._feed.state(viewer)
            if snapshot.tail_for != state.actions.version or snapshot.tail_relations != state.relations.digest:
                await self._feed.refresh(viewer, state, snapshot)
        except AppError as error:
            _log.info("tail not ranked anew", reason=error.reason.value)
