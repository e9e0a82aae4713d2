"""Where candidates come from: small functions of one viewer, each best first. Only videos of the replica's cards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from rank_svc.features.history import loved
from rank_svc.features.projection import DEVICES
from rank_svc.retrieval.pools import Pools
from rank_svc.retrieval.replica import Replica
from rank_svc.retrieval.store import Hits
from rank_svc.retrieval.taste import Taste, ViewerInput
from rank_svc.retrieval.trials import offered as on_trial
from rank_svc.scorers.encoding import primary_language
from rank_svc.settings import RankSettings


class Source(StrEnum):
    """Where a candidate comes from."""

    TASTE = "TASTE"
    SIMILAR_VIEWERS = "SIMILAR_VIEWERS"
    SIMILAR_VIDEO = "SIMILAR_VIDEO"
    NEW = "NEW"
    COLD_START = "COLD_START"


class Signal(StrEnum):
    """What speaks most for a candidate of COLD_START."""

    INTEREST = "INTEREST"
    LANGUAGE = "LANGUAGE"
    REGION = "REGION"
    HOUR = "HOUR"
    DEVICE = "DEVICE"
    POPULAR = "POPULAR"
    FRESH = "FRESH"


class Candidate(NamedTuple):
    """One video that is offered. A tuple, as is `queries.Offer`: a call makes a thousand of each."""

    video_id: int
    source: Source
    score: float
    seed_video_id: int = 0
    signal: Signal | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What all sources are told."""

    taste: Taste
    exclude: AbstractSet[int]
    replica: Replica
    pools: Pools
    settings: RankSettings

    def offered(self, video_id: int) -> bool:
        """Whether the video may be answered."""
        return video_id in self.replica.cards and video_id not in self.exclude


async def taste(ask: Ask, limit: int) -> Sequence[Candidate]:
    """Nearest to the viewer's vector, as far as it is true that this is their taste."""
    mine = ask.taste
    if not mine.known or not limit:
        return ()
    (hits,) = await mine.serving.videos.search(mine.vector[None], limit, exclude=ask.exclude)
    near = int(np.count_nonzero(hits.scores >= mine.serving.scorer.info.least_similarity))
    known = ask.replica.cards.known
    return [
        Candidate(i, Source.TASTE, score)
        for i, score in zip(hits.ids[:near].tolist(), hits.scores[:near].tolist(), strict=True)
        if i in known
    ]


async def similar_videos(ask: Ask, limit: int) -> Sequence[Candidate]:
    """Near each of the public videos that the viewer liked or finished last; each near its nearest of them."""
    mine = ask.taste
    seeds = [made.video_id for made in mine.history if loved(made) and made.video_id in ask.replica.cards]
    seeds = seeds[: ask.settings.similar_seeds]
    if not seeds or not limit:
        return ()
    vectors, known = mine.serving.videos.vectors(seeds)
    found = await mine.serving.videos.search(vectors, limit, exclude=ask.exclude | set(seeds))
    least = mine.serving.scorer.info.least_similarity
    best: dict[int, Candidate] = {}
    for seed, hits, there in zip(seeds, found, known.tolist(), strict=True):
        for video_id, score in _pairs(hits) if there else ():
            if score >= least and ask.offered(video_id) and (video_id not in best or best[video_id].score < score):
                best[video_id] = Candidate(video_id, Source.SIMILAR_VIDEO, score, seed)
    return _best(best.values(), limit)


async def similar_viewers(ask: Ask, limit: int) -> Sequence[Candidate]:
    """What viewers of near taste liked or finished; the more of them and the nearer, the better."""
    mine = ask.taste
    if not mine.known or not mine.history or not limit:
        return ()
    own = {mine.viewer.viewer_id} if mine.viewer.viewer_id else set()
    (hits,) = await mine.serving.viewers.search(mine.vector[None], ask.settings.similar_viewers, exclude=own)
    others, _ = mine.serving.viewers.vectors(hits.ids.tolist())
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(mine.vector)
    near = {
        viewer: float(score / max(length, 1e-9))
        for (viewer, score), length in zip(_pairs(hits), lengths.tolist(), strict=True)
        if score / max(length, 1e-9) >= ask.settings.similar_viewer_cosine
    }
    scores: dict[int, float] = {}
    for viewer, videos in ask.replica.loved_by(near).items():
        for video_id in videos:
            if ask.offered(video_id):
                scores[video_id] = scores.get(video_id, 0.0) + near[viewer]
    return _best([Candidate(i, Source.SIMILAR_VIEWERS, score) for i, score in scores.items()], limit)


async def young(ask: Ask, limit: int) -> Sequence[Candidate]:
    """Young videos on trial: those that have guaranteed impressions to get, shown least first and then who waits
    longest; then those that their first viewers took best. The feed draws among them."""
    if not limit:
        return ()
    chosen = on_trial([trial for trial in await ask.pools.trials() if ask.offered(trial.video_id)], limit)
    return [Candidate(trial.video_id, Source.NEW, 1.0 / (1.0 + place)) for place, trial in enumerate(chosen)]


WEIGHTS = {
    Signal.INTEREST: 2.0,
    Signal.REGION: 0.8,
    Signal.POPULAR: 0.5,
    Signal.LANGUAGE: 0.4,
    Signal.HOUR: 0.3,
    Signal.DEVICE: 0.3,
    Signal.FRESH: 0.2,
}
"""What the parts of a cold start's score weigh, each from 0 to 1. LANGUAGE: popular with those who speak it."""
SPOKEN = 1.0
"""What it weighs that a video is in the viewer's language."""
_HALF_RANK = 50
"""A video at this place of a popular list counts half of the first."""


async def cold_start(ask: Ask, limit: int) -> Sequence[Candidate]:
    """By interests, language, region, device and hour, then by what is popular with all, then by what is new: never
    nothing while there is anything. Popular is what viewers finish more often than others of its length."""
    if not limit:
        return ()
    parts: defaultdict[int, dict[Signal, float]] = defaultdict(dict)
    for signal, name in lists_of(ask.taste.viewer):
        _by_place(parts, await ask.pools.loved(name), signal)
    _by_place(parts, await ask.pools.newest(), Signal.FRESH)
    viewer = ask.taste.viewer
    if ask.taste.known and viewer.interests:
        (hits,) = await ask.taste.serving.videos.search(ask.taste.vector[None], limit, exclude=ask.exclude)
        for video_id in hits.ids.tolist():
            parts[video_id]
    language, chosen = primary_language(viewer.language), set(viewer.interests)
    found = []
    for video_id, signals in parts.items():
        card = ask.replica.cards.get(video_id)
        if card is None or video_id in ask.exclude:
            continue
        if chosen & set(card.facts.hashtags):
            signals[Signal.INTEREST] = WEIGHTS[Signal.INTEREST]
        spoken = bool(language) and primary_language(card.facts.language) == language
        score = sum(signals.values()) + SPOKEN * spoken
        found.append(Candidate(video_id, Source.COLD_START, score, signal=strongest(signals)))
    return _best(found, limit)


def lists_of(viewer: ViewerInput) -> list[tuple[Signal, str]]:
    """Which popular lists say something of a viewer's surroundings."""
    language = primary_language(viewer.language)
    lists = [(Signal.POPULAR, "*"), (Signal.HOUR, f"h:{viewer.local_hour % 24:02d}")]
    lists += [(Signal.REGION, f"r:{viewer.region.upper()[:8]}")] * bool(viewer.region)
    lists += [(Signal.LANGUAGE, f"l:{language}")] * bool(language)
    lists += [(Signal.DEVICE, f"d:{viewer.device.lower()}")] * (viewer.device.lower() in DEVICES)
    return lists


def strongest(signals: Mapping[Signal, float]) -> Signal | None:
    """The signal that weighs most; None when there is none."""
    return max(signals, key=lambda signal: signals[signal], default=None)


def _by_place(parts: dict[int, dict[Signal, float]], pool: Sequence[tuple[int, float]], signal: Signal) -> None:
    for place, (video_id, _) in enumerate(pool):
        parts[video_id][signal] = WEIGHTS[signal] * _HALF_RANK / (_HALF_RANK + place)


def _pairs(hits: Hits) -> list[tuple[int, float]]:
    return list(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True))


def _best(candidates: Iterable[Candidate], limit: int) -> Sequence[Candidate]:
    return sorted(candidates, key=lambda c: (-c.score, -c.video_id))[:limit]


SOURCES = {
    Source.TASTE: taste,
    Source.SIMILAR_VIEWERS: similar_viewers,
    Source.SIMILAR_VIDEO: similar_videos,
    Source.NEW: young,
    Source.COLD_START: cold_start,
}
