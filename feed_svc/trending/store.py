"""Ports of trending: what was done with videos lately, the order that follows, and what others answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from svc_kit.unit import Caller, Unit


@dataclass(frozen=True, slots=True)
class TrendingVideo:
    """A video as trending knows it. Without being shown it keeps its version, so that older news stay away."""

    video_id: int
    author_id: int
    version: int
    shown: bool
    """PUBLIC and READY."""
    published_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Act:
    """What one entity (`watch:...`, `like:...`, `comment:...`, or what an account did with a video within a day:
    `watched:...`, `shared:...`) contributes, as of its version."""

    entity: str
    version: int
    video_id: int
    bucket: int
    """The time it counts at, in units of `BUCKET_MS` since 1970-01-01 UTC."""
    views: int = 0
    weight_milli: int = 0
    """Thousandths of a whole view, as far as an established account did it."""
    fresh_milli: int = 0
    """The rest of its worth: as far as the account is new."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was done with one video within one unit of time."""

    bucket: int
    views: int
    weight_milli: int
    fresh_milli: int = 0
    """As in `Act`."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One place of the list. `rank` orders videos at any time: log2 of the score plus half-lives since 1970."""

    video_id: int
    author_id: int
    rank: float


@dataclass(frozen=True, slots=True)
class Views:
    """How often a video was watched, and when that last changed."""

    video_id: int
    author_id: int
    views: int
    changed_at_ms: int


class TrendingTx(Unit, Protocol):
    """One write transaction."""

    async def put_videos(self, videos: Sequence[TrendingVideo]) -> None:
        """Insert or update, each unless a higher version is there. One entry a video."""
        ...

    async def lock_videos(self, video_ids: Sequence[int]) -> Mapping[int, TrendingVideo]:
        """Those that are known, held against other writers until the end of the transaction."""
        ...

    async def acts(self, entities: Sequence[str]) -> Mapping[str, Act]:
        """What is counted of these entities."""
        ...

    async def put_acts(self, acts: Sequence[Act]) -> None:
        """Insert or replace; one entry an entity."""
        ...

    async def add(self, video_id: int, changes: Sequence[Bucket]) -> None:
        """Add to (or take off) a video's buckets, and its views of all time."""
        ...

    async def buckets(self, video_ids: Sequence[int], since: int) -> Mapping[int, Sequence[Bucket]]:
        """Buckets of videos from number `since` on."""
        ...

    async def recount(self, video_ids: Sequence[int], since: int) -> None:
        """Make buckets from number `since` on agree with the acts."""
        ...

    async def set_ranks(self, ranks: Mapping[int, float]) -> None:
        """Set the rank of known videos."""
        ...

    async def mark_viral(self, video_id: int) -> TrendingVideo | None:
        """Mark a shown video; None when it was marked before or is not shown."""
        ...


class TrendingStore(Protocol):
    """What was done lately. Every adapter passes `tests/contract/test_trending_store.py`. Raises UNAVAILABLE."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[TrendingTx]:
        """Open a write transaction."""
        ...

    async def top(self, limit: int) -> Sequence[Ranked]:
        """Shown videos by descending rank, then id."""
        ...

    async def views_since(self, bucket: int) -> Sequence[tuple[int, int]]:
        """Video id and views from this bucket on, most viewed first; none without views."""
        ...

    async def views_changed(self, since_ms: int, limit: int) -> Sequence[Views]:
        """Known videos whose views of all time changed at or after `since_ms`, longest ago first."""
        ...

    async def ids_after(self, video_id: int, limit: int) -> Sequence[int]:
        """Known videos by ascending id."""
        ...

    async def hide_unlisted(self, after_id: int, last_id: int, listed: Sequence[int], before_ms: int) -> int:
        """Hide videos with `after_id` < id <= `last_id` that are not in `listed` and were last put before `before_ms`;
        how many."""
        ...

    async def prune(self, before_bucket: int, limit: int) -> int:
        """Remove at most `limit` acts and buckets before this one; how many."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The list as it was; equal lists have equal ids."""

    snapshot_id: str
    entries: Sequence[Ranked]


class SnapshotCache(Protocol):
    """Lists that page tokens refer to. Each may be lost at any moment. Raises UNAVAILABLE."""

    async def save(self, snapshot: Snapshot, ttl_s: int) -> None:
        """Keep for `ttl_s` seconds from now."""
        ...

    async def load(self, snapshot_id: str) -> Snapshot | None:
        """A kept one."""
        ...


class VideoDirectory(Protocol):
    """Videos, answered by media_svc. Raises UNAVAILABLE or DEADLINE_EXCEEDED."""

    async def visible(self, caller: Caller, video_ids: Sequence[int]) -> frozenset[int]:
        """Those of these videos that are PUBLIC, READY and may be seen by the caller. At most 500."""
        ...

    async def published(self, after_id: int, limit: int) -> Sequence[TrendingVideo]:
        """Published READY videos of any visibility by ascending id; fewer than `limit` only at the end."""
        ...


class EventHistory(Protocol):
    """Events of the past, answered by the domain `analytics`."""

    def since(self, at_ms: int, topics: Sequence[str]) -> AsyncIterator[bytes]:
        """Serialised `Event`s that happened at or after `at_ms`, each once."""
        ...
