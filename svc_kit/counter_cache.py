"""Sums of counters in Redis, before `svc_kit.counters.CounterStore`. Whatever Redis does, answers are right or a
minute old.

One entry a subject holds the sums of its kinds and the subject's version at the time they were read; counting
raises the version. An entry of another version is not used, so a slow reader can't put back what has changed meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from svc_kit.counters import CountedDelivery, CounterStore, DeltasOf, Key
from svc_kit.telemetry import log

ENTRY_S = 60
VERSION_S = 3600
"""Longer than any entry lives, so that a forgotten version can't make an old entry valid."""


class CachedCounters:
    """`CounterStore` with its sums cached. Errors of the cache are logged and answered from the store."""

    def __init__(self, store: CounterStore, cache: Redis, prefix: str = "cnt") -> None:
        self._store = store
        self._cache = cache
        self._prefix = prefix

    async def apply(self, batch: Sequence[CountedDelivery]) -> set[Key]:
        """See `CounterStore.apply`."""
        changed = await self._store.apply(batch)
        # All subjects, not only the changed: a worker that died here has counted them already.
        await self.invalidate({subject for delivery in batch for subject, _, _ in delivery.deltas})
        return changed

    async def invalidate(self, subjects: Collection[int]) -> None:
        """Make the entries of these subjects invalid. When Redis can't, they end within a minute."""
        if not subjects:
            return
        try:
            async with self._cache.pipeline(transaction=False) as pipeline:
                for subject in subjects:
                    _ = pipeline.incr(self._version_key(subject))
                    _ = pipeline.expire(self._version_key(subject), VERSION_S)
                    _ = pipeline.delete(self._entry_key(subject))
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self._complain("invalidate", error)

    async def totals(self, keys: Sequence[Key]) -> dict[Key, int]:
        """See `CounterStore.totals`. At most two round trips to Redis and, for what it lacks, one query."""
        subjects = sorted({subject for subject, _ in keys})
        if not subjects:
            return {}
        try:
            cached, versions = await self._read(subjects)
        except (RedisError, OSError, ValueError) as error:
            self._complain("read", error)
            return await self._store.totals(keys)
        missing = [(subject, kind) for subject, kind in keys if kind not in cached.get(subject, {})]
        found = await self._store.totals(missing)
        for (subject, kind), total in found.items():
            cached.setdefault(subject, {})[kind] = total
        await self._fill({subject: cached[subject] for subject, _ in missing}, versions)
        return {(subject, kind): cached[subject][kind] for subject, kind in keys}

    async def totals_for(self, keys: Sequence[Key], viewer_id: int, deltas_of: DeltasOf) -> dict[Key, int]:
        """See `CounterStore.totals_for`: keys that the viewer has just changed come from the store."""
        touched = await self._store.touched(viewer_id, deltas_of) if viewer_id else set()
        own = [key for key in keys if key in touched]
        others = [key for key in keys if key not in touched]
        return {**await self.totals(others), **await self._store.totals_for(own, viewer_id, deltas_of)}

    async def _read(self, subjects: Sequence[int]) -> tuple[dict[int, dict[str, int]], dict[int, int]]:
        names = [self._entry_key(s) for s in subjects] + [self._version_key(s) for s in subjects]
        values = await self._cache.mget(names)
        entries, numbers = values[: len(subjects)], values[len(subjects) :]
        versions = {s: int(number or 0) for s, number in zip(subjects, numbers, strict=True)}
        cached: dict[int, dict[str, int]] = {}
        for subject, entry in zip(subjects, entries, strict=True):
            if entry is not None:
                version, sums = json.loads(entry)
                if version == versions[subject]:
                    cached[subject] = sums
        return cached, versions

    async def _fill(self, sums: Mapping[int, Mapping[str, int]], versions: Mapping[int, int]) -> None:
        if not sums:
            return
        try:
            async with self._cache.pipeline(transaction=False) as pipeline:
                for subject, totals in sums.items():
                    entry = json.dumps([versions[subject], totals], separators=(",", ":"))
                    _ = pipeline.set(self._entry_key(subject), entry, ex=ENTRY_S)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            self._complain("fill", error)

    def _entry_key(self, subject: int) -> str:
        return f"{self._prefix}:{subject}"

    def _version_key(self, subject: int) -> str:
        return f"{self._prefix}v:{subject}"

    def _complain(self, action: str, error: Exception) -> None:
        log(__name__).warning("counter cache failed", action=action, error=str(error))
