"""A feature store that remembers for a moment what it read: the same few hundred videos are ranked again and again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from rank_svc.features.store import BucketStats, FeatureStore, FeatureTx, VideoRecord, VideoState, Viewer
from svc_kit.clock import Clock


class CachedFeatureStore:
    """`FeatureStore` whose `read` and `buckets` may be `ttl_s` old. Holds at most `most` videos."""

    def __init__(self, inner: FeatureStore, clock: Clock, *, ttl_s: float, most: int) -> None:
        self._inner = inner
        self._clock = clock
        self._ttl_s = ttl_s
        self._most = most
        self._read: OrderedDict[int, tuple[float, VideoRecord | None]] = OrderedDict()
        self._buckets: tuple[float, Mapping[int, BucketStats]] | None = None

    def begin(self) -> AbstractAsyncContextManager[FeatureTx]:
        return self._inner.begin()

    async def read(self, ids: Sequence[int]) -> Mapping[int, VideoRecord]:
        oldest = self._clock.monotonic() - self._ttl_s
        known = {i: kept[1] for i in ids if (kept := self._read.get(i)) is not None and kept[0] > oldest}
        missing = [i for i in dict.fromkeys(ids) if i not in known]
        if missing:
            fresh, now = await self._inner.read(missing), self._clock.monotonic()
            for i in missing:
                known[i] = fresh.get(i)
                self._read[i] = (now, known[i])
                self._read.move_to_end(i)
            while len(self._read) > self._most:
                self._read.popitem(last=False)
        return {i: record for i, record in known.items() if record is not None}

    async def buckets(self) -> Mapping[int, BucketStats]:
        now = self._clock.monotonic()
        if self._buckets is None or self._buckets[0] <= now - self._ttl_s:
            self._buckets = (now, await self._inner.buckets())
        return self._buckets[1]

    async def changed_videos(self, since: tuple[int, int], limit: int) -> Sequence[VideoState]:
        return await self._inner.changed_videos(since, limit)

    async def popular(self, slice_: str, limit: int) -> Sequence[tuple[int, float]]:
        return await self._inner.popular(slice_, limit)

    async def regional(self, slice_: str, ids: Collection[int]) -> Mapping[int, float]:
        return await self._inner.regional(slice_, ids)

    async def young(
        self, since_ms: int, impressions_below: int, limit: int, *, impressions_from: int = 0
    ) -> Sequence[tuple[int, int]]:
        return await self._inner.young(since_ms, impressions_below, limit, impressions_from=impressions_from)

    async def newest(self, limit: int) -> Sequence[int]:
        return await self._inner.newest(limit)

    async def viewers(self, ids: Collection[int]) -> Mapping[int, Viewer]:
        return await self._inner.viewers(ids)

    async def changed_viewers(self, since: tuple[int, int], limit: int) -> Sequence[tuple[int, int]]:
        return await self._inner.changed_viewers(since, limit)

    async def prune_claims(self, before_ms: int, limit: int) -> int:
        return await self._inner.prune_claims(before_ms, limit)
