"""The ports of features: what was done with videos, and by whom. Every adapter passes
`tests/contract/test_feature_store.py`.

Features are a projection: nothing here is truth, everything can be replayed from the events.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

PUBLIC = "PUBLIC"
MAX_HISTORY = 200
"""Interactions kept of a viewer."""


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video is."""

    video_id: int
    author_id: int
    hashtags: tuple[str, ...] = ()
    language: str = ""
    """BCP 47; may be empty."""
    visibility: str = PUBLIC
    duration_ms: int = 0
    has_audio: bool = False
    published_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class VideoState:
    """A video as this projection knows it."""

    facts: VideoFacts
    version: int
    """Entity version of the facts."""
    published: bool
    """It was published: before, nobody may be offered it."""
    deleted: bool
    """Gone for good: no later event brings it back."""
    changed_at_ms: int
    """When the row was last written."""

    @property
    def servable(self) -> bool:
        """Whether it may be offered to strangers."""
        return self.published and not self.deleted and self.facts.visibility == PUBLIC


@dataclass(slots=True)
class VideoStats:
    """What was done with a video; also a change of it, to be added.

    A heat is log2 of a sum of weights that halve with age (`features/decay.py`); None: nothing yet.
    """

    impressions: int = 0
    views: int = 0
    completions: int = 0
    skips: int = 0
    watched_ms: int = 0
    ratio_sum: float = 0.0
    likes: int = 0
    shares: int = 0
    comments: int = 0
    not_interested: int = 0
    heat_1h: float | None = None
    heat_24h: float | None = None
    trusted_views: float = 0.0
    """Of `views`, what counts as done by established accounts (`svc_kit/trust.py`)."""
    trusted_completions: float = 0.0


@dataclass(slots=True)
class BucketStats:
    """Watches of all videos of about one length; also a change, to be added."""

    views: int = 0
    completions: int = 0
    watched_ms: int = 0
    ratio_sum: float = 0.0


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """All that ranking needs of a video."""

    facts: VideoFacts
    stats: VideoStats
    author_followers: int = 0


@dataclass(frozen=True, slots=True)
class Interaction:
    """What a viewer did with one video, all in all."""

    video_id: int
    author_id: int = 0
    watched_ms: int = 0
    """Of the latest watch."""
    duration_ms: int = 0
    at_ms: int = 0
    """Of the latest of what was done."""
    liked: bool = False
    completed: bool = False
    """By any watch."""
    skipped: bool = False
    """By the latest watch."""
    not_interested: bool = False
    shared: bool = False
    commented: bool = False
    like_version: int = 0
    """Entity version of the like."""
    watched_at_ms: int = 0
    """Of the latest watch; 0: none, or not known."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """What a viewer told of themselves, or their client did."""

    interests: tuple[str, ...] = ()
    interests_version: int = 0
    language: str = ""
    region: str = ""
    utc_offset_hours: int = 0
    device: str = ""
    """phone, tablet, desktop or tv; may be empty."""


@dataclass(slots=True)
class Changes:
    """What a batch of events adds, summed up before it is written; slices are as in `FeatureStore.popular`."""

    videos: dict[int, VideoStats] = field(default_factory=dict)
    buckets: dict[int, BucketStats] = field(default_factory=dict)
    followers: dict[int, int] = field(default_factory=dict)
    slices: dict[tuple[int, str], float] = field(default_factory=dict)
    """(video, slice) -> heat to add, log2."""

    def video(self, video_id: int) -> VideoStats:
        """The change of one video, to be added to."""
        return self.videos.setdefault(video_id, VideoStats())


class FeatureTx(Protocol):
    """One write transaction: all of a batch of events, or nothing."""

    async def claim(self, keys: Mapping[int, int]) -> set[int]:
        """Of counting keys -> time in ms, those not claimed before; they are from now on."""
        ...

    async def videos(self, ids: Collection[int]) -> Mapping[int, VideoState]:
        """Known videos, deleted ones among them; locked until the end."""
        ...

    async def put_videos(self, states: Sequence[VideoState]) -> None:
        """Insert or replace."""
        ...

    async def add(self, changes: Changes) -> None:
        """Add to counts and heats. A count may be below zero in between; it is never read so."""
        ...

    async def viewers(self, ids: Collection[int]) -> Mapping[int, Viewer]:
        """Known viewers."""
        ...

    async def put_viewers(self, viewers: Mapping[int, Viewer], now_ms: int) -> None:
        """Insert or replace, and mark them as changed."""
        ...

    async def touch_viewers(self, ids: Collection[int], now_ms: int) -> None:
        """Mark viewers as changed, for their history has."""
        ...

    async def forget_viewer(self, viewer_id: int, now_ms: int) -> None:
        """Drop what a viewer told; only that they changed stays, so that replicas forget them too."""
        ...

    async def clear(self) -> None:
        """Drop everything but the videos and what clients told of their viewers: the beginning of a rebuild."""
        ...


class FeatureStore(Protocol):
    """Online features."""

    def begin(self) -> AbstractAsyncContextManager[FeatureTx]:
        """Open a transaction."""
        ...

    async def read(self, ids: Sequence[int]) -> Mapping[int, VideoRecord]:
        """Everything about up to 1000 videos in one read; unknown and deleted ones are left out."""
        ...

    async def buckets(self) -> Mapping[int, BucketStats]:
        """Watches by length bucket."""
        ...

    async def changed_videos(self, since: tuple[int, int], limit: int) -> Sequence[VideoState]:
        """Videos by (changed_at_ms, video_id), above `since`."""
        ...

    async def popular(self, slice_: str, limit: int) -> Sequence[tuple[int, float]]:
        """(video, heat) of the hottest servable videos of `*` (all), `l:<language>`, `r:<region>`, `h:<hour>` or
        `d:<device>`."""
        ...

    async def regional(self, slice_: str, ids: Collection[int]) -> Mapping[int, float]:
        """Heat of videos within a slice; those without are left out."""
        ...

    async def young(
        self, since_ms: int, impressions_below: int, limit: int, *, impressions_from: int = 0
    ) -> Sequence[tuple[int, int]]:
        """(video, impressions) of servable videos published after `since_ms` with so many impressions; fewest first,
        then who waits longest."""
        ...

    async def newest(self, limit: int) -> Sequence[int]:
        """Servable videos, newest first."""
        ...

    async def viewers(self, ids: Collection[int]) -> Mapping[int, Viewer]:
        """What known viewers told."""
        ...

    async def changed_viewers(self, since: tuple[int, int], limit: int) -> Sequence[tuple[int, int]]:
        """(changed_at_ms, viewer) above `since`, in this order."""
        ...

    async def prune_claims(self, before_ms: int, limit: int) -> int:
        """Remove at most `limit` claims of a time before `before_ms`, which may be claimed again then; how many."""
        ...


class HistoryStore(Protocol):
    """Histories of viewers (wide rows: partition viewer and time, newest first). An adapter may forget what is older
    than it keeps. Raises UNAVAILABLE."""

    async def append(self, made: Sequence[tuple[int, Interaction]]) -> None:
        """Add what single events say, by viewer, in any order: a video's are laid over one another (`history.lay`).
        Durable on return; adding again changes nothing."""
        ...

    async def histories(self, viewer_ids: Collection[int], limit: int) -> Mapping[int, Sequence[Interaction]]:
        """Newest first, each video once, at most `limit` of each; unknown viewers are left out."""
        ...

    async def forget(self, viewer_id: int) -> None:
        """Drop a viewer's history."""
        ...

    async def clear(self) -> None:
        """Drop all histories: the beginning of a rebuild."""
        ...


class Embeddings(Protocol):
    """Vectors under the serving version."""

    def version(self) -> str:
        """The serving version."""
        ...

    def video_vectors(self, ids: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """[n, d], and which of them are indexed; zeros elsewhere."""
        ...

    async def viewer_vectors(self, ids: Sequence[int]) -> Mapping[int, NDArray[np.float32]]:
        """[d] of viewers of whom something is known."""
        ...


class VideoDirectory(Protocol):
    """Truth about videos: media_svc."""

    async def published(self, after_id: int, limit: int) -> Sequence[tuple[VideoFacts, int]]:
        """(facts, version) of READY published videos of any visibility above `after_id`, by ascending id; fewer than
        `limit` only at the end. Raises UNAVAILABLE."""
        ...


__all__ = [
    *("MAX_HISTORY", "PUBLIC", "BucketStats", "Changes", "Embeddings", "FeatureStore", "FeatureTx", "HistoryStore"),
    *("Interaction", "VideoDirectory", "VideoFacts", "VideoRecord", "VideoState", "VideoStats", "Viewer"),
]
