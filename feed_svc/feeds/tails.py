"""Building a tail: skeleton -> rules -> ranking -> hydration -> presentation, for one viewer."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from feed_svc.feeds.first_videos import lifted, tell_apart
from feed_svc.feeds.hydration import Hydrator
from feed_svc.feeds.popular import PopularList
from feed_svc.feeds.reasons import reason_for
from feed_svc.feeds.scoring import Worth, scores_of
from feed_svc.feeds.snapshot import Entry
from feed_svc.feeds.sources import (
    AGAIN,
    NEW,
    NUMBERS,
    POPULAR,
    RECENT,
    YOUNG,
    Merged,
    Source,
    SourceRequest,
    gather,
    merge,
)
from feed_svc.feeds.store import (
    Candidate,
    InteractionStore,
    InterestsSource,
    KnownVideos,
    Ranked,
    Ranker,
    Relations,
    SeenStore,
    Trial,
    VideoFacts,
    ViewerContext,
)
from feed_svc.feeds.taste import Taste, taste_of
from feed_svc.feeds.tuning import NoExperiments, Tuning, Tunings
from feed_svc.feeds.viewers import Viewer, local_hour
from feed_svc.settings import FeedSettings
from svc_kit.breaker import Breaker
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.telemetry import log

VERIFIED_AHEAD = 120
"""Entries whose visibility is asked while building, in one call."""
FEW = 100
"""Fewer candidates than this, from sources that all answered, are all there are."""
AGAIN_LIMIT = 200
AGAIN_STEP = 0.1
"""Keeps what was seen in the order of when, but for variety."""

R = TypeVar("R")
_log = log(__name__)


@dataclass(frozen=True, slots=True)
class TailRequest:
    """For whom, and without what."""

    viewer: Viewer
    relations: Relations
    refused: frozenset[int]
    excluded: frozenset[int]
    """Served in this snapshot, or in one that it replaces."""
    shown: frozenset[int] = frozenset()
    """Served lately and maybe not watched: worth less."""
    begins: bool = True
    """A snapshot begins: when nothing unseen is left, what was seen is offered again."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Ranked entries, best first."""

    entries: tuple[Entry, ...] = ()
    tags: Mapping[int, str] = field(default_factory=dict)
    trials: Mapping[int, Trial] = field(default_factory=dict)
    model_version: str = ""
    is_ranked: bool = True
    is_whole: bool = True
    facts: Mapping[int, VideoFacts] = field(default_factory=dict)
    """What media_svc said of entries while building."""


@dataclass(frozen=True, slots=True)
class _Work:
    request: TailRequest
    context: ViewerContext
    taste: Taste
    failed: frozenset[str]
    found: int
    tuning: Tuning


class TailBuilder:
    """Builds tails. Whatever is late or fails is left out; only a defect raises."""

    def __init__(
        self,
        sources: Sequence[Source],
        ranker: Ranker,
        ranker_breaker: Breaker,
        interests: InterestsSource,
        interests_breaker: Breaker,
        interactions: InteractionStore,
        seen: SeenStore,
        known: KnownVideos,
        hydrator: Hydrator,
        popular: PopularList,
        settings: FeedSettings,
        clock: Clock,
        tunings: Tunings | None = None,
    ) -> None:
        self._sources = sources
        self._ranker = ranker
        self._ranker_breaker = ranker_breaker
        self._interests = interests
        self._interests_breaker = interests_breaker
        self._interactions = interactions
        self._seen = seen
        self._known = known
        self._hydrator = hydrator
        self._popular = popular
        self._settings = settings
        self._clock = clock
        self._tunings = tunings or NoExperiments(settings)

    @property
    def is_degraded(self) -> bool:
        """The ranker's breaker is open: a tail built now would not be ranked."""
        return self._ranker_breaker.is_open

    def popular(self, viewer: Viewer, relations: Relations) -> Tail:
        """Popular videos from memory, best first; nothing is asked."""
        barred = relations.blocked | relations.muted | ({viewer.id} - {0})
        merged = merge(c for c in self._popular.candidates() if c.author_id not in barred)
        request = TailRequest(viewer, relations, frozenset(), frozenset())
        context = ViewerContext(viewer.id, viewer.client, (), (), 0)
        work = _Work(request, context, taste_of((), ()), frozenset(), 0, self._tunings.of(viewer.owner))
        scores = {video.video_id: -float(place) for place, video in enumerate(merged)}
        return self._present(work, merged, None, scores, {}, verified=False)

    async def build(self, request: TailRequest) -> Tail:
        """A tail of what the viewer has not seen; when a snapshot begins and there is nothing of that, of anything
        that they may see."""
        tuning = self._tunings.of(request.viewer.owner)
        context, seen = await self._context(request.viewer, tuning)
        barred_authors = request.relations.blocked | request.relations.muted
        gathered = await gather(
            self._sources,
            SourceRequest(
                context,
                request.relations,
                exclude_videos=[*request.excluded, *request.refused, *seen],
                exclude_authors=sorted(barred_authors | ({request.viewer.id} - {0})),
            ),
            self._settings.source_deadline_ms / 1000,
        )
        candidates = list(gathered.candidates)
        found_by = next((c.model_version for c in candidates if c.model_version), "")
        context = replace(context, model_version=found_by)
        taste = taste_of(context.recent, context.interests)
        work = _Work(request, context, taste, gathered.failed, len(candidates), tuning)
        tail = await self._finish(work, await self._unseen(request, candidates, own=False))
        if tail.entries or not request.begins:
            return tail
        for fallback in (self._most_popular, self._again, self._anything):
            merged = await fallback(request)
            if merged:
                tail = await self._finish(work, merged)
            if tail.entries:
                break
        return tail

    async def _context(self, viewer: Viewer, tuning: Tuning) -> tuple[ViewerContext, Sequence[int]]:
        s, weights = tuning.settings, tuning.value_weights
        hour = local_hour(self._clock.now(), viewer.client.timezone)
        if not viewer.id:
            return ViewerContext(0, viewer.client, (), (), hour, weights), ()
        interests = self._interests_breaker.call(
            lambda: self._interests.interests(viewer.id), deadline_s=s.relations_deadline_ms / 1000
        )
        recent, seen, chosen = await asyncio.gather(
            _or_else((), self._interactions.recent(viewer.id, s.recent_interactions)),
            _or_else((), self._seen.newest(viewer.id, s.seen_exact)),
            _or_else((), interests),
        )
        return ViewerContext(viewer.id, viewer.client, tuple(recent), tuple(chosen), hour, weights), seen

    async def _unseen(self, request: TailRequest, candidates: Sequence[Candidate], *, own: bool) -> list[Merged]:
        """Candidates that hard rules let pass, merged, best first."""
        barred = request.relations.blocked | request.relations.muted
        if not own and request.viewer.id:
            barred |= {request.viewer.id}
        left = [
            c
            for c in candidates
            if c.video_id not in request.excluded and c.video_id not in request.refused and c.author_id not in barred
        ]
        tuning = self._tunings.of(request.viewer.owner)
        merged = merge(left, tuning.source_weights)
        if request.viewer.id and merged:
            ids = [video.video_id for video in merged]
            seen = await _or_else(frozenset[int](), self._seen.among(request.viewer.id, ids))
            merged = [video for video in merged if video.video_id not in seen]
        return merged[: tuning.settings.tail_candidates]

    async def _most_popular(self, request: TailRequest) -> list[Merged]:
        return await self._unseen(request, self._popular.candidates(), own=False)

    async def _again(self, request: TailRequest) -> list[Merged]:
        if not request.viewer.id:
            return []
        seen = await _or_else((), self._seen.oldest(request.viewer.id, AGAIN_LIMIT))
        left = [v for v in seen if v not in request.excluded and v not in request.refused]
        return merge(Candidate(video_id, 0, AGAIN) for video_id in left)

    async def _anything(self, request: TailRequest) -> list[Merged]:
        newest = await _or_else((), self._known.newest(self._settings.popular_entries))
        barred = request.relations.blocked | request.relations.muted
        offered = [Candidate(v.video_id, v.author_id, RECENT, hashtags=v.hashtags) for v in newest]
        return merge(
            c
            for c in [*self._popular.candidates(), *offered]
            if c.author_id not in barred and c.video_id not in request.refused | request.excluded
        )

    async def _finish(self, work: _Work, merged: list[Merged]) -> Tail:
        """Rank, verify and explain; what the viewer may not see is left out."""
        ranked = await self._rank(work, merged[: work.tuning.settings.rank_candidates])
        ages = self._ages_h(merged, {})
        scores = self._scores(work, merged, ranked, ages)
        merged.sort(key=lambda video: -scores[video.video_id])
        ahead, rest = merged[:VERIFIED_AHEAD], merged[VERIFIED_AHEAD:]
        ids = [video.video_id for video in ahead]
        try:
            visible = await self._hydrator.visible(work.request.viewer.id, ids)
        except AppError:
            # Not even this service's database answers: what the sources gave is all there is; the gateway filters.
            return self._present(work, merged, ranked, scores, {}, verified=False)
        barred = work.request.relations.blocked | work.request.relations.muted
        facts = {v: f for v, f in visible.facts.items() if f.is_public and f.author_id not in barred}
        left = [video for video in ahead if video.video_id in facts]
        for video in left:
            video.author_id = facts[video.video_id].author_id
            video.hashtags = facts[video.video_id].hashtags or video.hashtags
        # Again, with topics and times of publishing that some sources do not tell.
        scores |= self._scores(work, left, ranked, self._ages_h(left, facts))
        scores = self._opened(work, left, scores)
        left.sort(key=lambda video: -scores[video.video_id])
        return self._present(work, [*left, *rest], ranked, scores, facts, verified=visible.is_verified)

    async def _rank(self, work: _Work, merged: Sequence[Merged]) -> Ranked | None:
        if not merged or merged[0].source == AGAIN:
            return Ranked({}, "")
        ids = [video.video_id for video in merged]
        followed = [video.author_id in work.request.relations.followees for video in merged]
        try:
            return await self._ranker_breaker.call(
                lambda: self._ranker.rank(work.context, ids, followed),
                deadline_s=self._settings.ranking_deadline_ms / 1000,
            )
        except AppError as error:
            _log.warning("ranking left out", reason=error.reason.value)
            return None

    def _scores(
        self, work: _Work, merged: Sequence[Merged], ranked: Ranked | None, ages_h: Mapping[int, float]
    ) -> dict[int, float]:
        if merged and merged[0].source == AGAIN:
            return {video.video_id: -AGAIN_STEP * place for place, video in enumerate(merged)}
        s = work.tuning.settings
        return scores_of(
            merged,
            ranked.scores if ranked else {},
            followees=work.request.relations.followees,
            shown=work.request.shown,
            taste=work.taste,
            ages_h=ages_h,
            worth=Worth(s.young_hours, s.freshness, s.curiosity, s.trending_newcomer),
        )

    def _opened(self, work: _Work, left: Sequence[Merged], scores: dict[int, float]) -> dict[int, float]:
        """Scores of a first snapshot of somebody of whom nothing is known: videos that tell tastes apart come first."""
        known = work.taste.is_known or work.context.recent or not work.request.begins
        if known or not left or left[0].source == AGAIN:
            return scores
        ranked = sorted(left, key=lambda video: -scores[video.video_id])
        first = tell_apart([(video.video_id, video.hashtags) for video in ranked], work.tuning.settings.first_videos)
        return lifted(scores, first)

    def _ages_h(self, merged: Sequence[Merged], facts: Mapping[int, VideoFacts]) -> dict[int, float]:
        now = now_ms(self._clock)
        return {
            video.video_id: max(0.0, (now - facts[video.video_id].created_at_ms) / 3_600_000)
            if video.video_id in facts
            else self._settings.young_hours
            for video in merged
        }

    def _present(
        self,
        work: _Work,
        merged: Sequence[Merged],
        ranked: Ranked | None,
        scores: Mapping[int, float],
        facts: Mapping[int, VideoFacts],
        *,
        verified: bool,
    ) -> Tail:
        tags: dict[int, str] = {}
        ages = self._ages_h(merged, facts)
        entries = tuple(
            self._entry(work, video, scores[video.video_id], facts.get(video.video_id), ages[video.video_id], tags)
            for video in merged
        )
        is_ranked = ranked is not None and not work.failed & {"retrieval"}
        return Tail(
            entries,
            tags,
            {video.video_id: video.trial for video in merged if video.trial},
            ranked.model_version if ranked else "",
            is_ranked=is_ranked,
            is_whole=not work.failed and is_ranked and (work.found < FEW or not entries),
            facts=facts if verified else {},
        )

    def _entry(
        self, work: _Work, video: Merged, score: float, facts: VideoFacts | None, age_h: float, tags: dict[int, str]
    ) -> Entry:
        young = age_h < work.tuning.settings.young_hours
        reason = reason_for(
            video,
            followed=video.author_id in work.request.relations.followees,
            taste=work.taste,
            language=facts.language if facts else "",
            viewer_language=work.request.viewer.client.language,
            is_young=young,
            hot_above=work.tuning.settings.trending_newcomer,
        )
        offered_young = (
            NEW in video.offered_by or video.trial is not None or (young and bool(video.offered_by & {RECENT, POPULAR}))
        )
        topic = _number(video.hashtags[0], tags) if video.hashtags else 0
        tag = _number(reason.hashtag, tags) if reason.hashtag else 0
        source = NUMBERS.get(video.source, 0) | (YOUNG if offered_young else 0)
        return Entry(video.video_id, video.author_id, reason.seed_video_id, score, source, int(reason.kind), topic, tag)


def _number(hashtag: str, tags: dict[int, str]) -> int:
    number = zlib.crc32(hashtag.encode()) or 1
    tags[number] = hashtag
    return number


async def _or_else(default: R, work: Awaitable[R]) -> R:
    """The answer, or `default` when it can't be had now."""
    try:
        return await work
    except AppError as error:
        _log.warning("feed built without a part", reason=error.reason.value)
        return default
