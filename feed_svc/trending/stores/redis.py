"""Lists that page tokens refer to, in the cache."""

from __future__ import annotations

import struct

from feed_svc.trending.store import Ranked, Snapshot
from svc_kit.cache import Cache, cache_errors

_ENTRY = struct.Struct("<qqd")


class RedisSnapshotCache:
    """`SnapshotCache`: 24 bytes an entry under `trending:<snapshot id>`."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def save(self, snapshot: Snapshot, ttl_s: int) -> None:
        packed = b"".join(_ENTRY.pack(e.video_id, e.author_id, e.rank) for e in snapshot.entries)
        with cache_errors():
            await self._cache.set(_key(snapshot.snapshot_id), packed, ttl_ms=ttl_s * 1000)

    async def load(self, snapshot_id: str) -> Snapshot | None:
        with cache_errors():
            packed = await self._cache.get(_key(snapshot_id))
        if packed is None:
            return None
        return Snapshot(snapshot_id, [Ranked(*entry) for entry in _ENTRY.iter_unpack(packed)])


def _key(snapshot_id: str) -> str:
    return f"trending:{snapshot_id}"
