"""Fills the histories from events, and makes them again from the truth."""

from __future__ import annotations

from collections.abc import Sequence

from feed_svc.watches.store import HistoryEntry, WatchHistory, WatchLog
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.bus.runner import Envelope

GROUP = "feed.watch_history"
TOPICS = ("watch",)
BATCH = 1000
"""Events at once: a wide-row store takes many rows at once as fast as few."""


class HistoryHandler:
    """A handler of `GROUP`."""

    def __init__(self, histories: WatchHistory) -> None:
        self._histories = histories

    async def handle(self, batch: Sequence[Envelope]) -> None:
        watched = [e.event for e in batch if e.event.WhichOneof("body") == "watch_recorded"]
        await self._histories.append([_entry(event) for event in watched])


async def rebuild_histories(log: WatchLog, histories: WatchHistory) -> int:
    """From all watches; how many there are. What is there already stays, for a history only grows."""
    count = 0
    async for watches in log.all():
        await histories.append(watches)
        count += len(watches)
    return count


def _entry(event: Event) -> tuple[int, HistoryEntry]:
    watch = event.watch_recorded
    at_ms = watch.reported_at_ms or event.occurred_at.ToMilliseconds()
    return watch.user_id, HistoryEntry(watch.video_id, at_ms, watch.watched_ms)
