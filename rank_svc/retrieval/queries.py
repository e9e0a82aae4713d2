"""Candidates of several sources at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from rank_svc.features.projection import DEVICES
from rank_svc.features.store import VideoFacts
from rank_svc.features.surroundings import Surroundings
from rank_svc.retrieval.pools import Pools
from rank_svc.retrieval.replica import Replica
from rank_svc.retrieval.sources import SOURCES, Ask, Candidate, Source
from rank_svc.retrieval.taste import Tastes, ViewerInput
from rank_svc.retrieval.trials import Trial
from rank_svc.scorers.encoding import primary_language
from rank_svc.settings import RankSettings
from svc_kit.errors import AppError
from svc_kit.paging import page_size
from svc_kit.telemetry import log

MOST_OF_A_SOURCE = 500
MOST_EXCLUDED = 5000
DEFAULT_QUOTAS = {
    Source.TASTE: 200,
    Source.SIMILAR_VIEWERS: 100,
    Source.SIMILAR_VIDEO: 100,
    Source.NEW: 50,
    Source.COLD_START: 100,
}

_log = log(__name__)


class Offer(NamedTuple):
    """A candidate and what the feed needs to know of it."""

    candidate: Candidate
    facts: VideoFacts
    trial: Trial | None = None
    """Of a young video that is tried out, whatever source gave it."""


class RetrievalQueries:
    """Reads candidates."""

    def __init__(
        self,
        replica: Replica,
        tastes: Tastes,
        pools: Pools,
        surroundings: Surroundings,
        ready: Callable[[], Awaitable[None]],
        settings: RankSettings,
    ) -> None:
        self._replica = replica
        self._tastes = tastes
        self._pools = pools
        self._surroundings = surroundings
        self._ready = ready
        self._settings = settings

    async def candidates(
        self,
        viewer: ViewerInput,
        quotas: Mapping[Source, int],
        exclude_videos: Sequence[int],
        exclude_authors: Collection[int],
    ) -> tuple[list[Offer], str]:
        """Candidates grouped by source, each once, and the model version. `quotas`: none for the defaults.

        A source that fails gives none; only when all that could give something fail does the call.
        """
        await self._ready()
        device = viewer.device.lower() if viewer.device.lower() in DEVICES else ""
        self._surroundings.note(
            *(viewer.viewer_id, primary_language(viewer.language), viewer.region.upper(), viewer.local_hour, device)
        )
        limits = {source: min(limit, MOST_OF_A_SOURCE) for source, limit in (quotas or DEFAULT_QUOTAS).items()}
        taste = await self._tastes.of(viewer)
        exclude = set(exclude_videos[:MOST_EXCLUDED])
        exclude |= self._replica.cards.of_authors([*exclude_authors, viewer.viewer_id])
        exclude |= {made.video_id for made in taste.history if made.not_interested}
        ask = Ask(taste, exclude, self._replica, self._pools, self._settings)
        # A video that one source gave up to another leaves room: ask for more than the quota.
        more = 2 if len(limits) > 1 else 1
        found = await asyncio.gather(
            *(SOURCES[source](ask, more * limit) for source, limit in limits.items()), return_exceptions=True
        )
        offered: dict[Source, Sequence[Candidate]] = {}
        failures = []
        for source, result in zip(limits, found, strict=True):
            if isinstance(result, AppError):
                _log.warning("source failed", source=source.value, reason=result.reason, error=result.message)
                failures.append(result)
            elif isinstance(result, BaseException):
                raise result
            else:
                offered[source] = result
        if failures and not any(offered.values()):
            raise failures[0]
        return self._with_facts(share(offered, limits), await self._trials()), taste.serving.version

    async def _trials(self) -> Mapping[int, Trial]:
        try:
            return {trial.video_id: trial for trial in await self._pools.trials()}
        except AppError as error:
            _log.warning("trials not read", reason=error.reason, error=error.message)
            return {}

    def _with_facts(self, candidates: Sequence[Candidate], trials: Mapping[int, Trial]) -> list[Offer]:
        known = self._replica.cards.known
        return [
            Offer(candidate, card.facts, trials.get(candidate.video_id))
            for candidate in candidates
            # A video may have been deleted since its source looked.
            if (card := known.get(candidate.video_id)) is not None
        ]

    async def similar(self, video_id: int, size: int) -> list[Offer]:
        """Videos like one, nearest first; none when it is not indexed."""
        await self._ready()
        limit, serving = page_size(size, default=20, most=100), self._replica.serving
        vectors, known = serving.videos.vectors([video_id])
        if not known[0]:
            return []
        (hits,) = await serving.videos.search(vectors, limit, exclude={video_id})
        scored = zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)
        return self._with_facts([Candidate(i, Source.SIMILAR_VIDEO, score, video_id) for i, score in scored], {})


def share(offered: Mapping[Source, Sequence[Candidate]], limits: Mapping[Source, int]) -> list[Candidate]:
    """Each video to one source, each source at most its limit, grouped by source and best first.

    The sources take turns, one video each: where the catalogue is small, the first or largest would else take all.
    """
    if len(limits) == 1:
        ((source, limit),) = limits.items()
        return list(offered.get(source, ()))[:limit]
    taken: set[int] = set()
    given: dict[Source, list[Candidate]] = {source: [] for source in limits}
    places = dict.fromkeys(limits, 0)

    def next_of(source: Source) -> Candidate | None:
        pool = offered.get(source, ())
        while places[source] < len(pool):
            candidate = pool[places[source]]
            places[source] += 1
            if candidate.video_id not in taken:
                return candidate
        return None

    waiting = [source for source, limit in limits.items() if limit > 0]
    while waiting:
        for source in list(waiting):
            candidate = next_of(source)
            if candidate is not None:
                taken.add(candidate.video_id)
                given[source].append(candidate)
            if candidate is None or len(given[source]) >= limits[source]:
                waiting.remove(source)
    return [candidate for source in limits for candidate in given[source]]
