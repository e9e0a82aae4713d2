"""Views counted from `watch.recorded`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from reelgraph.events.v1.event_pb2 import Event
from svc_kit.counters import Delta, DeltasOf, Key

TOPICS = ("watch",)
VIEWS = "views"


def views_of(event: Event) -> Sequence[Delta]:
    """What an event adds to numbers of views."""
    if event.WhichOneof("body") != "watch_recorded":
        return ()
    return ((event.watch_recorded.video_id, VIEWS, 1),)


class Totals(Protocol):
    """Sums with the viewer's own latest events: `CounterStore` or `CachedCounters`."""

    async def totals_for(self, keys: Sequence[Key], viewer_id: int, deltas_of: DeltasOf) -> dict[Key, int]: ...


class CountedViews:
    """`ViewCounts` over counters."""

    def __init__(self, counters: Totals) -> None:
        self._counters = counters

    async def of(self, viewer_id: int, video_ids: Sequence[int]) -> Mapping[int, int]:
        totals = await self._counters.totals_for([(v, VIEWS) for v in video_ids], viewer_id, views_of)
        return {video_id: count for (video_id, _), count in totals.items()}
