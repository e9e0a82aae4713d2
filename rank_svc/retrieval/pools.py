"""Lists that many viewers draw from: popular, young and new videos. Read every few seconds, whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, cast

from prometheus_client import Gauge

from rank_svc.features.decay import DAY_MS
from rank_svc.features.lengths import typical
from rank_svc.features.store import FeatureStore
from rank_svc.retrieval.trials import Trial, in_order, quality, trial_of
from rank_svc.settings import RankSettings
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.telemetry import log

MOST_READ = 1000
"""Videos in one read of the feature store."""
MOST_LISTS = 2000
"""Languages, regions and hours that are kept; the rest are read each time."""

T = TypeVar("T")
_log = log(__name__)

_YOUNG = Gauge("reelgraph_rank_young_videos", "Young videos on trial, as far as they are looked at", ["state"])
_OWED = Gauge("reelgraph_rank_owed_impressions", "Guaranteed impressions that young videos still have to get")


class Pools:
    """Lists by name, each at most a few seconds old; older when they can't be read."""

    def __init__(self, features: FeatureStore, clock: Clock, settings: RankSettings) -> None:
        self._features = features
        self._clock = clock
        self._settings = settings
        self._kept: dict[str, tuple[float, Sequence[object]]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def popular(self, slice_: str) -> Sequence[tuple[int, float]]:
        """(video, heat) hottest first, of `*`, `l:<language>`, `r:<region>`, `h:<hour>` or `d:<device>`."""
        return await self._get(slice_, lambda: self._features.popular(slice_, self._settings.popular_pool))

    async def loved(self, slice_: str) -> Sequence[tuple[int, float]]:
        """As `popular`, with the heat of each worth more or less by how its viewers finish it, against videos of its
        length."""

        async def read() -> Sequence[tuple[int, float]]:
            hot = await self.popular(slice_)
            records = await self._features.read([video_id for video_id, _ in hot])
            lengths = typical(await self._features.buckets())
            allowance = self._settings.newcomers_allowance
            found = [(i, heat + quality(records[i], lengths, allowance)) for i, heat in hot if i in records]
            return sorted(found, key=lambda pair: (-pair[1], -pair[0]))

        return await self._get(f"loved {slice_}", read)

    async def trials(self) -> Sequence[Trial]:
        """Young videos on trial: those with guaranteed impressions to get, shown least first and then who waits
        longest, then those that had them, who may be best first."""

        async def read() -> Sequence[Trial]:
            s = self._settings
            since = now_ms(self._clock) - int(s.young_days * DAY_MS)
            owed = await self._features.young(since, s.guaranteed_impressions, s.popular_pool)
            grown = await self._features.young(
                since, s.trial_impressions, s.popular_pool, impressions_from=max(s.guaranteed_impressions, 1)
            )
            ids = [video_id for video_id, _ in (*owed, *grown)]
            records = await self._features.read(ids[:MOST_READ])
            lengths = typical(await self._features.buckets())
            found = [
                trial_of(records[i], lengths, s.guaranteed_impressions, s.newcomers_allowance)
                for i in ids
                if i in records
            ]
            _YOUNG.labels("owed").set(len(owed))
            _YOUNG.labels("grown").set(len(grown))
            _OWED.set(sum(trial.owed for trial in found))
            return in_order(found)

        return await self._get("trials", read)

    async def newest(self) -> Sequence[tuple[int, float]]:
        """(video, 0) newest first."""

        async def read() -> Sequence[tuple[int, float]]:
            return [(video_id, 0.0) for video_id in await self._features.newest(self._settings.popular_pool)]

        return await self._get("newest", read)

    async def _get(self, name: str, read: Callable[[], Awaitable[Sequence[T]]]) -> Sequence[T]:
        if self._fresh(name):
            return cast(Sequence[T], self._kept[name][1])
        if name not in self._kept and len(self._kept) >= MOST_LISTS:
            return await read()
        async with self._locks.setdefault(name, asyncio.Lock()):
            if not self._fresh(name):
                await self._renew(name, read)
        return cast(Sequence[T], self._kept[name][1])

    def _fresh(self, name: str) -> bool:
        kept = self._kept.get(name)
        return kept is not None and kept[0] > self._clock.monotonic() - self._settings.popular_cache_s

    async def _renew(self, name: str, read: Callable[[], Awaitable[Sequence[object]]]) -> None:
        try:
            found: Sequence[object] = await read()
        except AppError as error:
            if name not in self._kept:
                raise
            _log.warning("list not renewed", list=name, error=error.message)
            found = self._kept[name][1]
        self._kept[name] = (self._clock.monotonic(), found)
