"""Lists that many viewers draw from: popular, young and new videos. Read every few seconds, whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from rank_svc.features.decay import DAY_MS
from rank_svc.features.store import FeatureStore
from rank_svc.settings import RankSettings
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.telemetry import log

MOST_LISTS = 2000
"""Languages, regions and hours that are kept; the rest are read each time."""

_log = log(__name__)


class Pools:
    """Lists by name, each at most a few seconds old; older when they can't be read."""

    def __init__(self, features: FeatureStore, clock: Clock, settings: RankSettings) -> None:
        self._features = features
        self._clock = clock
        self._settings = settings
        self._kept: dict[str, tuple[float, Sequence[tuple[int, float]]]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def popular(self, slice_: str) -> Sequence[tuple[int, float]]:
        """(video, heat) hottest first, of `*`, `l:<language>`, `r:<region>` or `h:<hour>`."""
        return await self._get(slice_, lambda: self._features.popular(slice_, self._settings.popular_pool))

    async def young(self) -> Sequence[tuple[int, float]]:
        """(video, impressions) of young videos that still have guaranteed impressions to get, fewest first."""

        async def read() -> Sequence[tuple[int, float]]:
            since = now_ms(self._clock) - int(self._settings.young_days * DAY_MS)
            found = await self._features.young(
                since, self._settings.guaranteed_impressions, self._settings.popular_pool
            )
            return [(video_id, float(shown)) for video_id, shown in found]

        return await self._get("young", read)

    async def newest(self) -> Sequence[tuple[int, float]]:
        """(video, 0) newest first."""

        async def read() -> Sequence[tuple[int, float]]:
            return [(video_id, 0.0) for video_id in await self._features.newest(self._settings.popular_pool)]

        return await self._get("newest", read)

    async def _get(
        self, name: str, read: Callable[[], Awaitable[Sequence[tuple[int, float]]]]
    ) -> Sequence[tuple[int, float]]:
        if self._fresh(name):
            return self._kept[name][1]
        if name not in self._kept and len(self._kept) >= MOST_LISTS:
            return await read()
        async with self._locks.setdefault(name, asyncio.Lock()):
            if not self._fresh(name):
                await self._renew(name, read)
        return self._kept[name][1]

    def _fresh(self, name: str) -> bool:
        kept = self._kept.get(name)
        return kept is not None and kept[0] > self._clock.monotonic() - self._settings.popular_cache_s

    async def _renew(self, name: str, read: Callable[[], Awaitable[Sequence[tuple[int, float]]]]) -> None:
        try:
            found = await read()
        except AppError as error:
            if name not in self._kept:
                raise
            _log.warning("list not renewed", list=name, error=error.message)
            found = self._kept[name][1]
        self._kept[name] = (self._clock.monotonic(), found)
