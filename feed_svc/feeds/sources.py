"""Skeleton: candidates from all sources at once, and one list made of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from feed_svc.feeds.store import Candidate, Relations, Trial, ViewerContext
from svc_kit.breaker import Breaker
from svc_kit.errors import AppError
from svc_kit.telemetry import log

_log = log(__name__)

INBOX, TASTE, SIMILAR_VIEWERS, SIMILAR_VIDEO = "inbox", "taste", "similar_viewers", "similar_video"
NEW, COLD_START, TRENDING, RECENT, POPULAR, AGAIN = "new", "cold_start", "trending", "recent", "popular", "again"
FRIENDS = "friends"
SOURCES = ("", INBOX, TASTE, SIMILAR_VIEWERS, SIMILAR_VIDEO, NEW, COLD_START, TRENDING, RECENT, POPULAR, AGAIN, FRIENDS)
"""Names of sources by the number that snapshots keep; append only."""
NUMBERS = {name: number for number, name in enumerate(SOURCES)}
YOUNG = 0x80
"""Set beside the number of a source when the video was offered as a young one, too."""

WEIGHTS = {
    INBOX: 1.0,
    TASTE: 1.0,
    FRIENDS: 0.9,
    SIMILAR_VIEWERS: 0.9,
    SIMILAR_VIDEO: 0.9,
    TRENDING: 0.7,
    COLD_START: 0.6,
    NEW: 0.5,
    RECENT: 0.2,
    POPULAR: 0.2,
    AGAIN: 0.1,
}
RANK_OFFSET = 10
"""Reciprocal rank fusion: how little the first places of a source stand out."""


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """What every source is asked for."""

    viewer: ViewerContext
    relations: Relations
    exclude_videos: Sequence[int]
    """The most recent ones; a hint."""
    exclude_authors: Sequence[int]


@dataclass(frozen=True, slots=True)
class Source:
    """One source of candidates with its breaker."""

    name: str
    breaker: Breaker
    fetch: Callable[[SourceRequest], Awaitable[Sequence[Candidate]]]
    """Best first within each source name."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the sources gave in time."""

    candidates: Sequence[Candidate]
    failed: frozenset[str]
    """Names of sources that were late, failed or whose breaker is open."""


async def gather(sources: Sequence[Source], request: SourceRequest, deadline_s: float) -> Gathered:
    """Ask all sources at once; what is late or fails is left out."""
    answers = await asyncio.gather(*(_ask(source, request, deadline_s) for source in sources))
    failed = frozenset(source.name for source, answer in zip(sources, answers, strict=True) if answer is None)
    return Gathered([candidate for answer in answers for candidate in answer or ()], failed)


async def _ask(source: Source, request: SourceRequest, deadline_s: float) -> Sequence[Candidate] | None:
    try:
        return await source.breaker.call(lambda: source.fetch(request), deadline_s=deadline_s)
    except AppError as error:
        _log.info("candidate source left out", source=source.name, reason=error.reason.value)
        return None


@dataclass(slots=True)
class Merged:
    """One video with all that offered it."""

    video_id: int
    author_id: int
    source: str = ""
    """The one that speaks most for it."""
    score: float = 0.0
    """Reciprocal rank fusion over its sources, above 0."""
    best: float = 0.0
    seed_video_id: int = 0
    hashtags: tuple[str, ...] = ()
    offered_by: set[str] = field(default_factory=set)
    heat: float = 0.0
    """What trending says of it, in whole views of just now; 0: nothing."""
    trial: Trial | None = None
    signal: str = ""
    """What speaks most for it as a cold start."""


def merge(candidates: Iterable[Candidate], weights: Mapping[str, float] = WEIGHTS) -> list[Merged]:
    """Each video once, best first by its ranks within all sources that offered it."""
    ranks: defaultdict[str, int] = defaultdict(int)
    merged: dict[int, Merged] = {}
    for candidate in candidates:
        rank = ranks[candidate.source]
        ranks[candidate.source] += 1
        video = merged.setdefault(candidate.video_id, Merged(candidate.video_id, candidate.author_id))
        if candidate.source in video.offered_by:
            continue
        if candidate.source in (TRENDING, POPULAR):
            video.heat = max(video.heat, candidate.score)
        video.trial = video.trial or candidate.trial
        video.signal = video.signal or candidate.signal
        worth = weights.get(candidate.source, 0.1) / (RANK_OFFSET + rank)
        video.score += worth
        video.offered_by.add(candidate.source)
        video.hashtags = video.hashtags or candidate.hashtags
        video.author_id = video.author_id or candidate.author_id
        if worth > video.best:
            video.best, video.source, video.seed_video_id = worth, candidate.source, candidate.seed_video_id
    return sorted(merged.values(), key=lambda video: (-video.score, -video.video_id))
