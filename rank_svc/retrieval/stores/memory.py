"""Vectors in this process: compared one by one while they are few, in an inverted file of our own beyond that.

Own, because faiss's has no way to grow, shrink and filter while it is searched, usearch's graph takes minutes to build
and has no filter, and either is one more copy of the vectors (`docs/adr/0004`, `bench/vector_index.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from rank_svc.retrieval.store import Floats, Hits, Ints
from rank_svc.retrieval.stores.probing import SPARE
from rank_svc.retrieval.stores.selection import NONE, ranked
from rank_svc.retrieval.stores.settling import Settling
from rank_svc.retrieval.stores.shared import Shared
from rank_svc.retrieval.stores.tiles import JOURNAL, flat
from svc_kit.telemetry import log

EXACT_BELOW = 50_000
CHUNK = 256
"""Vectors added under one lock: searches wait no longer than that."""
_ATTEMPTS = 3
"""A search that others' writes left with too little compares all, and looks again."""

_log = log(__name__)


async def open(url: str, dimensions: int, threads: anyio.CapacityLimiter) -> MemoryIndex:
    """Open `memory://[?exact_below=50000]`."""
    options = parse_qs(urlsplit(url).query)
    below = int(options.get("exact_below", [str(EXACT_BELOW)])[0])
    return MemoryIndex(dimensions, threads, exact_below=below)


class MemoryIndex:
    """See `VectorIndex`. A search holds the lock twice for a moment, never while it compares."""

    def __init__(self, dimensions: int, threads: anyio.CapacityLimiter, *, exact_below: int = EXACT_BELOW) -> None:
        if dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, not {dimensions}")
        self._dimensions = dimensions
        self._threads = threads
        self._shared = Shared(dimensions)
        self._settling = Settling(self._shared, exact_below)
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def size(self) -> int:
        return len(self._shared.tiles.places)

    @property
    def nbytes(self) -> int:
        """Memory of the vectors and their ids, without the dictionary of places."""
        return self._shared.tiles.nbytes

    async def add(self, ids: Sequence[int], vectors: Floats) -> None:
        fresh = self._checked(vectors)
        if len(fresh) != len(ids):
            raise ValueError(f"vectors: {len(fresh)} rows for {len(ids)} ids")
        if any(not 1 <= i < 1 << 63 for i in ids):
            raise ValueError("ids: each must be 1 to 2^63 - 1")
        for start in range(0, len(ids), CHUNK):
            some, rows = list(ids[start : start + CHUNK]), fresh[start : start + CHUNK]
            await anyio.to_thread.run_sync(self._shared.add, some, rows, limiter=self._threads)
        self._settle_soon()

    def _checked(self, vectors: Floats) -> Floats:
        array = np.ascontiguousarray(vectors, np.float32)
        if array.ndim != 2 or array.shape[1] != self._dimensions:
            raise ValueError(f"vectors: want [n, {self._dimensions}], got {list(array.shape)}")
        if not np.isfinite(array).all():
            raise ValueError("vectors: there is one that is not finite")
        return array

    async def remove(self, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), CHUNK):
            some = list(ids[start : start + CHUNK])
            await anyio.to_thread.run_sync(self._shared.remove, some, limiter=self._threads)
        self._settle_soon()

    async def search(
        self, vectors: Floats, k: int, *, exclude: AbstractSet[int] = frozenset(), exact: bool = False
    ) -> Sequence[Hits]:
        asked = self._checked(vectors)
        if k <= 0 or not self.size or not len(asked):
            return [NONE] * len(asked)
        found = await anyio.to_thread.run_sync(self._search, asked, k, exclude, exact, limiter=self._threads)
        self._settle_soon()
        return found

    def _search(self, vectors: Floats, k: int, exclude: AbstractSet[int], exact: bool) -> list[Hits]:
        return [self._nearest(vector, k, exclude, exact) for vector in vectors]

    def _nearest(self, query: Floats, k: int, exclude: AbstractSet[int], exact: bool) -> Hits:
        hits = NONE
        for attempt in range(_ATTEMPTS):
            view = self._shared.view()
            barred = _places(view.tiles.places, exclude)
            count = min(k, len(view.tiles.places)) + SPARE
            found = None if exact or attempt else view.probe(query, count, barred)
            if found is None:
                found = view.compare_all(query, count, barred)
            ids, rows, writes = self._shared.again(view, found)
            if exclude:
                kept = np.array([i not in exclude for i in ids.tolist()], np.bool_)
                ids, rows = ids[kept], rows[kept]
            hits = ranked(ids, rows @ query, k)
            if len(hits.ids) >= min(k, self.size - len(barred)) and (not exact or writes <= JOURNAL):
                break
        self._settling.observe(query, k, hits, exact)
        return hits

    def vectors(self, ids: Sequence[int]) -> tuple[Floats, NDArray[np.bool_]]:
        with self._shared.lock:
            tiles = self._shared.tiles
            places = np.array([tiles.places.get(i, -1) for i in ids], np.int64)
            known = places >= 0
            found = np.zeros((len(ids), self._dimensions), np.float32)
            found[known] = flat(tiles.rows)[places[known]]
        return found, known

    def _settle_soon(self) -> None:
        if not (self._busy or self._closed) and self._settling.due():
            self._task = asyncio.create_task(self._settle(), name="vectors.settle")

    async def _settle(self) -> None:
        try:
            while self._settling.due():
                steps = self._settling.steps()
                while await anyio.to_thread.run_sync(next, steps, False, limiter=self._threads):
                    pass
        except Exception:
            # What was served before serves on, slower at worst.
            _log.exception("vector index not rebuilt", size=self.size)
            self._settling.give_up()

    @property
    def _busy(self) -> bool:
        # Not by the task itself: one that is cancelled before it has begun runs no line of it.
        return self._task is not None and not self._task.done()

    async def settled(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await self.settled()
        self._shared.clear()


def _places(places: dict[int, int], ids: AbstractSet[int]) -> Ints:
    return np.array([place for place in map(places.get, ids) if place is not None], np.int64)
