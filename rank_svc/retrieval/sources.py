"""Where candidates come from: small functions of one viewer, each best first. Only videos of the replica's cards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from rank_svc.features.history import loved
from rank_svc.retrieval.pools import Pools
from rank_svc.retrieval.replica import Replica
from rank_svc.retrieval.store import Hits
from rank_svc.retrieval.taste import Taste
from rank_svc.scorers.encoding import primary_language
from rank_svc.settings import RankSettings


class Source(StrEnum):
    """Where a candidate comes from."""

    TASTE = "TASTE"
    SIMILAR_VIEWERS = "SIMILAR_VIEWERS"
    SIMILAR_VIDEO = "SIMILAR_VIDEO"
    NEW = "NEW"
    COLD_START = "COLD_START"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One video that is offered."""

    video_id: int
    source: Source
    score: float
    seed_video_id: int = 0


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
    least = mine.serving.scorer.info.least_similarity
    return [Candidate(i, Source.TASTE, score) for i, score in _pairs(hits) if score >= least and ask.offered(i)]


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
    """Young videos that still have guaranteed impressions to get: those shown least first, equal ones in an order that
    differs by viewer, so that they share the slots."""
    if not limit:
        return ()
    pool = [(i, shown) for i, shown in await ask.pools.young() if ask.offered(i)]
    pool.sort(key=lambda item: (item[1], _shuffled(ask.taste.viewer.viewer_id, item[0])))
    return [Candidate(i, Source.NEW, 1.0 / (1.0 + shown)) for i, shown in pool[:limit]]


def _shuffled(viewer_id: int, video_id: int) -> bytes:
    return hashlib.blake2b(f"{viewer_id}:{video_id}".encode(), digest_size=8).digest()


INTEREST, SPOKEN, REGION, LANGUAGE, HOUR, GLOBAL, FRESH = 2.0, 1.0, 0.8, 0.4, 0.3, 0.5, 0.2
"""What the parts of a cold start's score weigh, each from 0 to 1. LANGUAGE: popular with those who speak it; SPOKEN: it
is in it."""
_HALF_RANK = 50
"""A video at this place of a popular list counts half of the first."""


async def cold_start(ask: Ask, limit: int) -> Sequence[Candidate]:
    """By interests, language, region and hour, then by what is popular with all, then by what is new: never nothing
    while there is anything."""
    if not limit:
        return ()
    viewer = ask.taste.viewer
    language = primary_language(viewer.language)
    lists = [("*", GLOBAL), (f"h:{viewer.local_hour % 24:02d}", HOUR)]
    lists += [(f"r:{viewer.region.upper()[:8]}", REGION)] * bool(viewer.region)
    lists += [(f"l:{language}", LANGUAGE)] * bool(language)
    scores: dict[int, float] = {}
    for name, weight in lists:
        _by_place(scores, await ask.pools.popular(name), weight)
    _by_place(scores, await ask.pools.newest(), FRESH)
    if ask.taste.known and viewer.interests:
        (hits,) = await ask.taste.serving.videos.search(ask.taste.vector[None], limit, exclude=ask.exclude)
        for video_id in hits.ids.tolist():
            scores.setdefault(video_id, 0.0)
    chosen = set(viewer.interests)
    found = []
    for video_id, score in scores.items():
        card = ask.replica.cards.get(video_id)
        if card is None or video_id in ask.exclude:
            continue
        spoken = primary_language(card.facts.language)
        score += INTEREST * bool(chosen & set(card.facts.hashtags)) + SPOKEN * bool(language and spoken == language)
        found.append(Candidate(video_id, Source.COLD_START, score))
    return _best(found, limit)


def _by_place(scores: dict[int, float], pool: Sequence[tuple[int, float]], weight: float) -> None:
    for place, (video_id, _) in enumerate(pool):
        scores[video_id] = scores.get(video_id, 0.0) + weight * _HALF_RANK / (_HALF_RANK + place)


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
