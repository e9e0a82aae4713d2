"""Ports of the feeds: what this service keeps, and what other services and domains answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from svc_kit.unit import Caller, Unit

# ---- What others know -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a feed needs to know of a READY video that the viewer may see."""

    video_id: int
    author_id: int
    hashtags: tuple[str, ...]
    is_public: bool
    duration_ms: int
    created_at_ms: int
    language: str


class VideoDirectory(Protocol):
    """Videos as media_svc lets a viewer see them. Raises UNAVAILABLE or DEADLINE_EXCEEDED."""

    async def visible(self, viewer_id: int, video_ids: Sequence[int]) -> dict[int, VideoFacts]:
        """Those of these videos that the viewer (0: nobody) may see and that can be played. At most 500 ids."""
        ...


class KnownVideos(Protocol):
    """This service's own projection of `video.*`: less fresh than `VideoDirectory`, never gone."""

    async def public(self, video_ids: Sequence[int]) -> dict[int, VideoFacts]:
        """Those of these videos that are PUBLIC and not deleted, as far as is known here."""
        ...

    async def newest(self, limit: int) -> Sequence[VideoFacts]:
        """The newest PUBLIC videos."""
        ...


@dataclass(frozen=True, slots=True)
class Relations:
    """How a viewer stands to other accounts."""

    followees: frozenset[int] = frozenset()
    friends: frozenset[int] = frozenset()
    blocked: frozenset[int] = frozenset()
    """Either way."""
    muted: frozenset[int] = frozenset()


class RelationsSource(Protocol):
    """The follow graph's truth of one viewer; answered by graph_svc. Raises UNAVAILABLE or DEADLINE_EXCEEDED."""

    async def relations(self, viewer_id: int) -> Relations:
        """The viewer's relations now."""
        ...


class InterestsSource(Protocol):
    """Chosen interests; answered by graph_svc. Raises UNAVAILABLE or DEADLINE_EXCEEDED."""

    async def interests(self, viewer_id: int) -> tuple[str, ...]:
        """Normalised hashtags; empty when none were chosen."""
        ...


@dataclass(frozen=True, slots=True)
class ClientHints:
    """A client's surroundings: hints, each may be empty."""

    client_id: str = ""
    device: str = ""
    timezone: str = ""
    language: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Interaction:
    """One thing that a viewer did with a video."""

    video_id: int
    author_id: int
    at_ms: int
    watched_ms: int = 0
    duration_ms: int = 0
    completed: bool = False
    skipped: bool = False
    liked: bool = False
    not_interested: bool = False
    hashtags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ViewerContext:
    """All that retrieval and ranking are told of a viewer."""

    viewer_id: int
    client: ClientHints
    recent: tuple[Interaction, ...]
    """Newest first."""
    interests: tuple[str, ...]
    local_hour: int
    value_weights: Mapping[str, float] = field(default_factory=dict)
    """Of the value formula, where an experiment changes them."""
    model_version: str = ""
    """That found the candidates and is to rank them, so that one version makes a page."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How a young video did so far, as rank_svc counts it."""

    impressions: int
    guaranteed: int
    """Impressions that it gets whatever its first viewers do."""
    completions: float
    """Watches to the end that count: those of new accounts count little."""
    watches: float
    typical: float
    """Completion rate that is typical for its length, within (0, 1)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One video that a source offers."""

    video_id: int
    author_id: int
    source: str
    """A name of `feed_svc.feeds.sources.SOURCES`."""
    score: float = 0.0
    """Within its source; higher is better."""
    seed_video_id: int = 0
    hashtags: tuple[str, ...] = ()
    trial: Trial | None = None
    signal: str = ""
    """What speaks most for it within its source: interest, language, region, hour, device, popular, fresh; or empty."""
    model_version: str = ""
    """That found it; empty where none did."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Candidates of several sources, each source best first."""

    candidates: Sequence[Candidate]
    model_version: str


class Retrieval(Protocol):
    """Candidates by vector search; answered by rank_svc. Raises UNAVAILABLE or DEADLINE_EXCEEDED."""

    async def retrieve(
        self, viewer: ViewerContext, exclude_videos: Sequence[int], exclude_authors: Sequence[int]
    ) -> Retrieved:
        """Candidates near the viewer's taste, liked by similar viewers, like videos they liked, young, or for a cold
        start. The exclusions are hints."""
        ...


@dataclass(frozen=True, slots=True)
class Ranked:
    """The ranker's values by video, and the model version that gave them."""

    scores: Mapping[int, float]
    model_version: str


class Ranker(Protocol):
    """The value of videos for a viewer; answered by rank_svc. Raises UNAVAILABLE or DEADLINE_EXCEEDED."""

    async def rank(self, viewer: ViewerContext, video_ids: Sequence[int], followed: Sequence[bool]) -> Ranked:
        """One value a video, higher is better, in one call. At most 500 videos."""
        ...


class TrendingSource(Protocol):
    """What many watch now; answered by the domain `trending`."""

    async def top(self, limit: int) -> Sequence[tuple[int, int, float]]:
        """Video id, author id and score (higher is better), best first."""
        ...


class PostLike(Protocol):
    """One video of a followed author."""

    @property
    def video_id(self) -> int: ...
    @property
    def author_id(self) -> int: ...
    @property
    def published_at_ms(self) -> int: ...


class FollowedSource(Protocol):
    """What followed accounts published; answered by the domain `fanout`."""

    async def newest(
        self, user_id: int, followees: frozenset[int], limit: int, *, before: tuple[int, int] | None = None
    ) -> Sequence[PostLike]:
        """Newest first posts of `followees` below `before` (milliseconds of publishing, video id)."""
        ...


# ---- What this service keeps ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot as it is stored: packed, with its version."""

    snapshot_id: str
    version: int
    data: bytes


class SnapshotStore(Protocol):
    """Packed snapshots by owner. A cache: any of them may be lost at any moment. All raise UNAVAILABLE."""

    async def current(self, owner: str) -> StoredSnapshot | None:
        """The owner's newest snapshot."""
        ...

    async def get(self, owner: str, snapshot_id: str) -> StoredSnapshot | None:
        """One snapshot of the owner's."""
        ...

    async def save(self, owner: str, snapshot: StoredSnapshot, *, expected: int, current: bool) -> bool:
        """Store if no version above `expected` is there; atomic. False: somebody else was faster. One below is what a
        cache has that was away while its callers went on from memory: it is replaced.

        `current`: it becomes the owner's newest; the oldest beyond a limit are removed."""
        ...


@dataclass(frozen=True, slots=True)
class ServedPage:
    """What one page added to the frozen part of a snapshot."""

    owner: str
    snapshot_id: str
    first_position: int
    entries: bytes
    """Packed as in the snapshot."""
    video_ids: tuple[int, ...]
    served_at_ms: int


class ServedStore(Protocol):
    """Served pages, durable, for as long as cursors work: what is left of a snapshot when the cache is lost."""

    async def add(self, pages: Sequence[ServedPage]) -> None:
        """Keep pages; one of the same snapshot and position stays as it is."""
        ...

    async def of_snapshot(self, owner: str, snapshot_id: str) -> Sequence[ServedPage]:
        """A snapshot's pages, by position."""
        ...

    async def prune(self, before_ms: int, limit: int) -> int:
        """Remove pages served before then; returns how many."""
        ...


class SeenStore(Protocol):
    """What viewers watched within the last days. Never a false negative among them; beyond the newest ones, false
    positives are possible (below 1 in 1,000)."""

    async def among(self, viewer_id: int, video_ids: Sequence[int]) -> frozenset[int]:
        """Which of these the viewer has seen."""
        ...

    async def newest(self, viewer_id: int, limit: int) -> Sequence[int]:
        """The last watched videos, last first."""
        ...

    async def oldest(self, viewer_id: int, limit: int) -> Sequence[int]:
        """Watched videos, the longest ago first, whenever that was."""
        ...


@dataclass(frozen=True, slots=True)
class ViewerActions:
    """What must count at once."""

    version: int
    """Grows with everything the viewer does that changes their feed."""
    refused: frozenset[int]
    """Videos of which they want no more."""


class InteractionStore(Protocol):
    """What viewers did, from this service's truth."""

    async def actions(self, viewer_id: int) -> ViewerActions:
        """The version of the viewer's actions, and what they refused."""
        ...

    async def recent(self, viewer_id: int, limit: int) -> Sequence[Interaction]:
        """Newest watches, likes and refusals, newest first."""
        ...

    async def liked(self, viewer_ids: Sequence[int], limit: int) -> Sequence[tuple[int, int]]:
        """Video and author of what any of these viewers like, each video once, last liked first."""
        ...

    async def note_action(self, viewer_id: int) -> None:
        """The viewer did something elsewhere that changes their feed."""
        ...

    async def put_like(self, viewer_id: int, video_id: int, author_id: int, at_ms: int, version: int) -> None:
        """The viewer liked (`at_ms` > 0) or unliked (0) a video, unless a version as high is there."""
        ...


class NotInterestedTx(Unit, Protocol):
    """A write transaction on one viewer's refusals."""

    async def refuse(self, viewer_id: int, video: VideoFacts, at_ms: int) -> bool:
        """Record a refusal and that the viewer acted; false (and nothing changed) when it is there already."""
        ...


class NotInterestedStore(Protocol):
    """Refusals, by viewer."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[NotInterestedTx]:
        """Open a write transaction."""
        ...
