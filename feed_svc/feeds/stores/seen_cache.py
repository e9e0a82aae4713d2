"""Seen sets in Redis, before the truth: the newest ids exactly, the others of the last days in a Bloom filter."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from rbloom import Bloom

from feed_svc.feeds.stores.sql import DAY_MS, SqlSeenStore
from svc_kit.cache import Cache, bucket, cache_errors
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.telemetry import log

FALSE_POSITIVES = 0.0005
REWRITE_AFTER = 200
"""Rows read since the cached set was written, from which on it is written anew."""
KEPT_MS = DAY_MS
PAGE = 50_000
LATE_MS = 60_000
_HEAD = struct.Struct("<qI")
_MASK = 2**127 - 1

_log = log(__name__)


@dataclass(slots=True)
class _Seen:
    """What was seen up to a moment."""

    until_ms: int
    exact: list[int]
    """Newest last."""
    older: Bloom | None

    def __contains__(self, video_id: int) -> bool:
        return self.older is not None and video_id in self.older


class CachedSeenStore:
    """`SeenStore` over `SqlSeenStore`. A cached set is joined by what was watched since, so it is never behind; lost or
    unreachable, it is made again from truth. What left the last `days` stays in the filter for a day at most."""

    def __init__(self, truth: SqlSeenStore, cache: Cache, clock: Clock, *, exact: int, days: int) -> None:
        self._truth = truth
        self._cache = cache
        self._clock = clock
        self._exact = exact
        self._days = days

    async def among(self, viewer_id: int, video_ids: Sequence[int]) -> frozenset[int]:
        seen = await self._read(viewer_id)
        if seen is None:
            return await self._load(viewer_id, video_ids)
        recent = await self._truth.since(viewer_id, seen.until_ms, PAGE)
        if len(recent) >= REWRITE_AFTER:
            return await self._load(viewer_id, video_ids)
        exact = {*seen.exact, *(video_id for video_id, _ in recent)}
        return frozenset(v for v in video_ids if v in exact or v in seen)

    async def newest(self, viewer_id: int, limit: int) -> Sequence[int]:
        return await self._truth.newest(viewer_id, limit)

    async def oldest(self, viewer_id: int, limit: int) -> Sequence[int]:
        return await self._truth.oldest(viewer_id, limit)

    async def _load(self, viewer_id: int, video_ids: Sequence[int]) -> frozenset[int]:
        """Make the set from truth, cache it, and answer from it."""
        rows = await self._truth.since(viewer_id, now_ms(self._clock) - self._days * DAY_MS, PAGE)
        ids = [video_id for video_id, _ in rows]
        if len(rows) < PAGE:
            # A watch that commits late carries an earlier time: the last minute is read again each time.
            await self._write(viewer_id, rows[-1][1] - LATE_MS if rows else 0, ids)
        else:
            return await self._truth.among(viewer_id, video_ids)
        seen = set(ids)
        return frozenset(video_id for video_id in video_ids if video_id in seen)

    async def _read(self, viewer_id: int) -> _Seen | None:
        try:
            with cache_errors():
                data = await self._cache.get(_key(viewer_id))
        except AppError:
            return None
        if data is None:
            return None
        until_ms, count = _HEAD.unpack_from(data)
        end = _HEAD.size + 8 * count
        exact = list(struct.unpack_from(f"<{count}q", data, _HEAD.size))
        older = Bloom.load_bytes(data[end:], _spread) if len(data) > end else None
        return _Seen(until_ms, exact, older)

    async def _write(self, viewer_id: int, until_ms: int, ids: Sequence[int]) -> None:
        exact, older = ids[-self._exact :], ids[: -self._exact]
        data = _HEAD.pack(until_ms, len(exact)) + struct.pack(f"<{len(exact)}q", *exact)
        if older:
            bloom = Bloom(len(older), FALSE_POSITIVES, _spread)
            bloom.update(older)
            data += bloom.save_bytes()
        try:
            with cache_errors():
                await self._cache.set(_key(viewer_id), data, ttl_ms=KEPT_MS)
        except AppError as error:
            _log.info("seen set not cached", reason=error.reason.value)


def _spread(video_id: object) -> int:
    """A hash that every process shares: splitmix64, twice, for 127 bits."""
    x = int(video_id)  # type: ignore[call-overload]
    return (_splitmix(x) << 64 | _splitmix(x ^ 0x9E3779B97F4A7C15)) & _MASK


def _splitmix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    x = (x ^ x >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return x ^ x >> 31


def _key(viewer_id: int) -> str:
    return f"{bucket(viewer_id)}:seen:{viewer_id}"
