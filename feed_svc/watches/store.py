"""Ports of watches: the log (truth), the histories and the counters of views made from it."""

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

    @property
    def key(self) -> HistoryKey:
        """Its place in the history; the greatest is the newest."""
        return (self.watched_at_ms, self.video_id)


HistoryKey = tuple[int, int]
"""Place in a history: `watched_at_ms`, video id."""


@dataclass(frozen=True, slots=True)
class HistoryPlace:
    """Where a page of a history begins: below `key`."""

    key: HistoryKey
    state: str = ""
    """Where the store's own paging stands at `key`, opaque; empty: it begins to read there."""


@dataclass(frozen=True, slots=True)
class HistorySlice:
    """A page of a history."""

    entries: Sequence[HistoryEntry]
    more: bool
    """There are entries below the last one."""
    state: str = ""
    """For `HistoryPlace`, of the last entry."""


class WatchTx(Unit, Protocol):
    """A write transaction on the watches of one viewer."""

    async def add(self, row: WatchRow) -> bool:
        """Record a watch, its history entry and that the viewer acted; false (and nothing changed) when the viewer has
        recorded this watch id before."""
        ...


class WatchLog(Protocol):
    """All watches, by viewer: the truth."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[WatchTx]:
        """Open a write transaction."""
        ...

    async def known(self, user_id: int, watch_ids: Sequence[str]) -> frozenset[str]:
        """Which of these the viewer has recorded."""
        ...

    async def recent(self, user_id: int, limit: int) -> Sequence[HistoryEntry]:
        """The viewer's newest watches, newest first; a video as often as it was watched."""
        ...

    def all(self) -> AsyncIterator[Sequence[tuple[int, HistoryEntry]]]:
        """All watches with their viewers, a page at a time, in any order: to remake histories. May take long."""
        ...

    def totals(self) -> AsyncIterator[tuple[int, int]]:
        """Video id and number of watches, for all videos: to remake counters. May take long."""
        ...


class WatchHistory(Protocol):
    """Histories (wide rows: partition viewer and time, newest first): a projection of `watch.recorded`. An adapter may
    forget what was watched longer ago than it keeps. Raises UNAVAILABLE."""

    async def append(self, watches: Sequence[tuple[int, HistoryEntry]]) -> None:
        """Add watches by viewer, in any order. Durable on return; adding again changes nothing."""
        ...

    async def page(self, viewer_id: int, limit: int, after: HistoryPlace | None = None) -> HistorySlice:
        """The videos that the viewer watched, each once where it was watched last, newest first. Raises BAD_USER_INPUT
        on `page_token` for a state that the store does not know."""
        ...

    async def last(self, viewer_id: int, video_ids: Sequence[int]) -> Mapping[int, int]:
        """When the viewer watched these videos last, in milliseconds; those not watched are left out."""
        ...


class ViewCounts(Protocol):
    """Numbers of views: a projection of `watch.recorded`."""

    async def of(self, viewer_id: int, video_ids: Sequence[int]) -> Mapping[int, int]:
        """By video; absent is zero. The viewer's own watches that are on their way are in it."""
        ...
