"""Ports of watches: the log (truth) with history and seen sets, and the counters of views."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from svc_kit.unit import Caller, Unit


@dataclass(frozen=True, slots=True)
class WatchRow:
    """One recorded watch."""

    user_id: int
    watch_id: str
    """The client's UUID, canonical: lower case with hyphens."""
    video_id: int
    author_id: int
    watched_ms: int
    """Capped by what is possible."""
    duration_ms: int
    completed: bool
    skipped: bool
    snapshot_id: str
    """Empty if it was not watched in a feed."""
    position: int
    """-1 if it was not watched in a feed."""
    hashtags: tuple[str, ...]
    at_ms: int
    """When it was reported, in milliseconds since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One video of a viewer's history."""

    video_id: int
    watched_at_ms: int
    """The last time."""
    watched_ms: int
    """Of the last watch."""


HistoryKey = tuple[int, int]
"""Place in a history: `watched_at_ms`, video id."""


class WatchTx(Unit, Protocol):
    """A write transaction on the watches of one viewer."""

    async def add(self, row: WatchRow) -> bool:
        """Record a watch, its history entry and that the viewer acted; false (and nothing changed) when the viewer has
        recorded this watch id before."""
        ...


class WatchLog(Protocol):
    """All watches, by viewer."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[WatchTx]:
        """Open a write transaction."""
        ...

    async def known(self, user_id: int, watch_ids: Sequence[str]) -> frozenset[str]:
        """Which of these the viewer has recorded."""
        ...

    async def history(self, user_id: int, limit: int, before: HistoryKey | None) -> Sequence[HistoryEntry]:
        """Videos the viewer watched, each once, last watched first, below `before`."""
        ...

    def totals(self) -> AsyncIterator[tuple[int, int]]:
        """Video id and number of watches, for all videos: to remake counters. May take long."""
        ...


class ViewCounts(Protocol):
    """Numbers of views: a projection of `watch.recorded`."""

    async def of(self, viewer_id: int, video_ids: Sequence[int]) -> Mapping[int, int]:
        """By video; absent is zero. The viewer's own watches that are on their way are in it."""
        ...
