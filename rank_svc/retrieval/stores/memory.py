"""Vectors in this process: compared one by one while they are few, by usearch's graph beyond that.

Why not faiss: an inverted file has to be trained on vectors that a new instance does not have yet, and takes a scan to
remove one. Below 100,000 vectors comparing all is as fast as any of them, and exact (`bench/vector_index.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

from rank_svc.retrieval.store import Floats, Hits, Ints

EXACT_BELOW = 100_000
CHUNK = 256
"""Vectors added under one lock: searches wait no longer than that."""
TIE = np.float32(1e-6)
"""Scores closer than this are equal: a product depends in its last bits on where in the matrix a vector lies."""
_NONE = Hits(np.zeros(0, np.int64), np.zeros(0, np.float32))


async def open(url: str, dimensions: int, threads: anyio.CapacityLimiter) -> MemoryIndex:
    """Open `memory://[?exact_below=100000]`."""
    options = parse_qs(urlsplit(url).query)
    below = int(options.get("exact_below", [str(EXACT_BELOW)])[0])
    return MemoryIndex(dimensions, threads, exact_below=below)


class MemoryIndex:
    """See `VectorIndex`. Holds the vectors densely: removing one moves the last into its place."""

    def __init__(self, dimensions: int, threads: anyio.CapacityLimiter, *, exact_below: int = EXACT_BELOW) -> None:
        if dimensions < 1:
            raise ValueError(f"dimensions must be at least 1, not {dimensions}")
        self._dimensions = dimensions
        self._threads = threads
        self._exact_below = exact_below
        self._lock = threading.Lock()
        self._matrix: Floats = np.zeros((0, dimensions), np.float32)
        self._ids: Ints = np.zeros(0, np.int64)
        self._places: dict[int, int] = {}
        self._graph: Any = None

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def size(self) -> int:
        return len(self._places)

    async def add(self, ids: Sequence[int], vectors: Floats) -> None:
        fresh = self._checked(vectors)
        if len(fresh) != len(ids):
            raise ValueError(f"vectors: {len(fresh)} rows for {len(ids)} ids")
        if any(not 1 <= i < 1 << 63 for i in ids):
            raise ValueError("ids: each must be 1 to 2^63 - 1")
        for start in range(0, len(ids), CHUNK):
            some, rows = list(ids[start : start + CHUNK]), fresh[start : start + CHUNK]
            await anyio.to_thread.run_sync(self._add, some, rows, limiter=self._threads)

    def _checked(self, vectors: Floats) -> Floats:
        array = np.ascontiguousarray(vectors, np.float32)
        if array.ndim != 2 or array.shape[1] != self._dimensions:
            raise ValueError(f"vectors: want [n, {self._dimensions}], got {list(array.shape)}")
        if not np.isfinite(array).all():
            raise ValueError("vectors: there is one that is not finite")
        return array

    def _add(self, ids: list[int], vectors: Floats) -> None:
        with self._lock:
            self._grow(len(self._places) + len(ids))
            for i, vector in zip(ids, vectors, strict=True):
                known = i in self._places
                place = self._places.setdefault(i, len(self._places))
                self._matrix[place], self._ids[place] = vector, i
                if self._graph is not None:
                    if known:
                        self._graph.remove(i)
                    self._graph.add(i, vector)
            if self._graph is None and len(self._places) >= self._exact_below:
                self._build_graph()

    def _grow(self, needed: int) -> None:
        if needed > len(self._ids):
            room = max(1024, needed * 3 // 2)
            matrix, ids = np.zeros((room, self._dimensions), np.float32), np.zeros(room, np.int64)
            matrix[: len(self._ids)], ids[: len(self._ids)] = self._matrix, self._ids
            self._matrix, self._ids = matrix, ids

    def _build_graph(self) -> None:
        n = len(self._places)
        graph = Index(ndim=self._dimensions, metric="ip", dtype="f16")
        graph.add(self._ids[:n], self._matrix[:n], threads=1)
        self._graph = graph

    async def remove(self, ids: Sequence[int]) -> None:
        await anyio.to_thread.run_sync(self._remove, list(ids), limiter=self._threads)

    def _remove(self, ids: list[int]) -> None:
        with self._lock:
            for i in ids:
                place = self._places.pop(i, None)
                if place is None:
                    continue
                last = len(self._places)
                if place != last:
                    moved = int(self._ids[last])
                    self._matrix[place], self._ids[place], self._places[moved] = self._matrix[last], moved, place
                if self._graph is not None:
                    self._graph.remove(i)

    async def search(
        self, vectors: Floats, k: int, *, exclude: AbstractSet[int] = frozenset(), exact: bool = False
    ) -> Sequence[Hits]:
        asked = self._checked(vectors)
        if k <= 0 or not self._places or not len(asked):
            return [_NONE] * len(asked)
        return await anyio.to_thread.run_sync(self._search, asked, k, exclude, exact, limiter=self._threads)

    def _search(self, vectors: Floats, k: int, exclude: AbstractSet[int], exact: bool) -> list[Hits]:
        with self._lock:
            if exact or self._graph is None:
                return self._compare_all(vectors, k, exclude)
            return [self._walk(vector, k, exclude) for vector in vectors]

    def _compare_all(self, vectors: Floats, k: int, exclude: AbstractSet[int]) -> list[Hits]:
        n = len(self._places)
        scores = vectors @ self._matrix[:n].T
        barred = [place for place in map(self._places.get, exclude) if place is not None]
        scores[:, barred] = -np.inf
        wanted = min(k, n - len(barred))
        return [self._best(self._ids[:n], row, wanted) for row in scores]

    def _best(self, ids: Ints, scores: Floats, wanted: int) -> Hits:
        if wanted <= 0:
            return _NONE
        if wanted < len(scores):
            # What ties with the last of the best must be in, or equal scores would come in an order of chance.
            least = np.partition(scores, len(scores) - wanted)[len(scores) - wanted]
            some = np.flatnonzero(scores >= least - TIE)
        else:
            some = np.flatnonzero(scores > -np.inf)
        order = np.lexsort((-ids[some], -np.round(scores[some] / TIE)))[:wanted]
        return Hits(ids[some][order], scores[some][order])

    def _walk(self, vector: Floats, k: int, exclude: AbstractSet[int]) -> Hits:
        """The graph has no filter: ask for more than wanted until enough is left."""
        n = len(self._places)
        barred = sum(i in self._places for i in exclude) if len(exclude) < n else n
        wanted, asked = min(k, n), min(k + 32, n)
        while True:
            self._graph.expansion_search = max(128, asked + asked // 4)
            found = np.asarray(self._graph.search(vector, asked, threads=1).keys, np.int64)
            kept = np.array([i for i in found.tolist() if i not in exclude and i in self._places], np.int64)
            if len(kept) >= min(wanted, n - barred) or asked >= n:
                break
            if asked >= k + barred + 32:
                return self._compare_all(vector[None], k, exclude)[0]
            asked = min(asked * 4, k + barred + 32, n)
        places = [self._places[i] for i in kept.tolist()]
        # Scores from the vectors themselves: the graph keeps them with half the precision.
        return self._best(kept, self._matrix[places] @ vector, min(wanted, len(kept)))

    def vectors(self, ids: Sequence[int]) -> tuple[Floats, NDArray[np.bool_]]:
        with self._lock:
            places = np.array([self._places.get(i, -1) for i in ids], np.int64)
            known = places >= 0
            found = np.zeros((len(ids), self._dimensions), np.float32)
            found[known] = self._matrix[places[known]]
        return found, known

    async def close(self) -> None:
        with self._lock:
            self._graph, self._places = None, {}
            self._matrix, self._ids = np.zeros((0, self._dimensions), np.float32), np.zeros(0, np.int64)
