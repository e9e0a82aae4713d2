"""Sums of counters in Redis, before `svc_kit.counters.CounterStore`. Whatever Redis does, answers are right or a
quarter of a minute old.

One entry a subject holds the sums of its kinds and the subject's version from before they were read; counting replaces
the version. An entry of another version is not used, so a slow reader can't put back what has changed meanwhile.
Versions are random: after a loss of the cache none comes back, and so no entry that was made before becomes valid.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence

from svc_kit.cache import Cache, CacheError, Call
from svc_kit.counters import CountedDelivery, CounterStore, DeltasOf, Key
from svc_kit.telemetry import log

ENTRY_S = 15
VERSION_S = 3600
"""Longer than any entry lives: a version that ends takes no valid entry along."""


class CachedCounters:
    """`CounterStore` with its sums cached. Errors of the cache are logged and answered from the store."""

    def __init__(self, store: CounterStore, cache: Cache, prefix: str = "cnt") -> None:
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
        """Make the entries of these subjects invalid. When Redis can't, they end within `ENTRY_S`."""
        calls = []
        for subject in subjects:
            version, entry = self._version_key(subject), self._entry_key(subject)
            calls += [
                Call(version, ("SET", version, _new_version(), "EX", VERSION_S)),
                Call(entry, ("DEL", entry)),
            ]
        try:
            await self._cache.batch(calls)
        except CacheError as error:
            self._complain("invalidate", error)

    async def totals(self, keys: Sequence[Key]) -> dict[Key, int]:
        """See `CounterStore.totals`. At most three round trips to Redis and, for what it lacks, one query."""
        subjects = sorted({subject for subject, _ in keys})
        if not subjects:
            return {}
        try:
            cached, versions = await self._read(subjects)
        except (CacheError, ValueError, TypeError) as error:
            self._complain("read", error)
            return await self._store.totals(keys)
        missing = [(subject, kind) for subject, kind in keys if kind not in cached.get(subject, {})]
        found = await self._store.totals(missing)
        for (subject, kind), total in found.items():
            cached.setdefault(subject, {})[kind] = total
        await self._fill({subject: cached[subject] for subject, _ in missing if subject in versions}, versions)
        return {(subject, kind): cached[subject][kind] for subject, kind in keys}

    async def totals_for(self, keys: Sequence[Key], viewer_id: int, deltas_of: DeltasOf) -> dict[Key, int]:
        """See `CounterStore.totals_for`: keys that the viewer has just changed come from the store."""
        touched = await self._store.touched(viewer_id, deltas_of) if viewer_id else set()
        own = [key for key in keys if key in touched]
        others = [key for key in keys if key not in touched]
        return {**await self.totals(others), **await self._store.totals_for(own, viewer_id, deltas_of)}

    async def _read(self, subjects: Sequence[int]) -> tuple[dict[int, dict[str, int]], dict[int, str]]:
        """Valid entries, and the versions of the subjects whose server answers."""
        names = [self._entry_key(s) for s in subjects] + [self._version_key(s) for s in subjects]
        values = await self._cache.get_many(names)
        entries, numbers = values[: len(subjects)], values[len(subjects) :]
        versions = {s: number.decode() for s, number in zip(subjects, numbers, strict=True) if number is not None}
        cached: dict[int, dict[str, int]] = {}
        for subject, entry in zip(subjects, entries, strict=True):
            if entry is not None:
                version, sums = json.loads(entry)
                if version == versions.get(subject):
                    cached[subject] = sums
        return cached, versions | await self._begin([s for s in subjects if s not in versions])

    async def _begin(self, subjects: Sequence[int]) -> dict[int, str]:
        """Give subjects a version, unless somebody is faster; the versions they have then."""
        calls = []
        for key in map(self._version_key, subjects):
            calls += [Call(key, ("SET", key, _new_version(), "EX", VERSION_S, "NX")), Call(key, ("GET", key))]
        replies = await self._cache.replies(calls) if calls else []
        return {s: value.decode() for s, value in zip(subjects, replies[1::2], strict=True) if isinstance(value, bytes)}

    async def _fill(self, sums: Mapping[int, Mapping[str, int]], versions: Mapping[int, str]) -> None:
        calls = []
        for subject, totals in sums.items():
            key, entry = self._entry_key(subject), json.dumps([versions[subject], totals], separators=(",", ":"))
            calls.append(Call(key, ("SET", key, entry, "EX", ENTRY_S)))
        try:
            await self._cache.batch(calls)
        except CacheError as error:
            self._complain("fill", error)

    def _entry_key(self, subject: int) -> str:
        return f"{self._prefix}:{{{subject}}}"

    def _version_key(self, subject: int) -> str:
        return f"{self._prefix}v:{{{subject}}}"

    def _complain(self, action: str, error: Exception) -> None:
        log(__name__).warning("counter cache failed", action=action, error=str(error))


def _new_version() -> str:
    return secrets.token_hex(8)
