"""Vector search, by measure: comparing all with numpy, usearch's graph, faiss's inverted file where it is installed.

    python -m bench.vector_index [SIZE ...]

Top 500 of SIZE x 64, one thread, CPU milliseconds a query; recall against comparing all. The vectors lie in 200
clusters, as videos of topics do; without any structure every index misses much. `ours` is the adapter that serves.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import numpy as np
from numpy.typing import NDArray

D, K, QUERIES, CLUSTERS = 64, 500, 100, 200
Floats = NDArray[np.float32]
Search = Callable[[Floats], Sequence[int]]


def vectors(n: int, seed: int) -> Floats:
    """n vectors of length 1 in clusters that are the same for every seed."""
    centres = np.random.default_rng(0).standard_normal((CLUSTERS, D))
    random = np.random.default_rng(seed)
    made = centres[random.integers(0, CLUSTERS, n)] + 0.7 * random.standard_normal((n, D))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def compared(data: Floats) -> Search:
    """All inner products, then the best."""

    def search(query: Floats) -> Sequence[int]:
        scores = data @ query
        best = np.argpartition(-scores, K - 1)[:K]
        return list(best[np.argsort(-scores[best])])

    return search


def usearch(data: Floats) -> Search:
    """A graph of half-precision vectors."""
    from usearch.index import Index

    index = Index(ndim=D, metric="ip", dtype="f16", expansion_search=K + K // 4)
    index.add(np.arange(len(data)), data, threads=1)
    return lambda query: index.search(query, K, threads=1).keys.tolist()


def faiss(data: Floats) -> Search:
    """An inverted file with 8 bits a dimension."""
    import faiss as lib

    lib.omp_set_num_threads(1)
    lists = int(4 * len(data) ** 0.5)
    index: Any = lib.index_factory(D, f"IVF{lists},SQ8", lib.METRIC_INNER_PRODUCT)
    index.train(data[: lists * 40])
    index.add(data)
    index.nprobe = max(8, lists // 12)
    return lambda query: index.search(query[None], K)[1][0].tolist()


def measure(name: str, build: Callable[[Floats], Search], data: Floats, asked: Floats, truth: list[set[int]]) -> None:
    """Print one row."""
    begun = time.process_time()
    search = build(data)
    built = time.process_time() - begun
    begun = time.process_time()
    found = [search(query) for query in asked]
    spent = (time.process_time() - begun) / len(asked) * 1000
    recall = np.mean([len(set(a) & b) / len(b) for a, b in zip(found, truth, strict=True)])
    print(f"{len(data):>8}  {name:<9} {spent:8.3f} ms  recall {recall:.3f}  built in {built:6.2f} s")


async def measure_ours(data: Floats, asked: Floats, truth: list[set[int]]) -> None:
    """Print the row of the adapter, threads and excluding 1,000 ids included."""
    from rank_svc.retrieval.stores.memory import MemoryIndex

    begun = time.process_time()
    index = MemoryIndex(D, anyio.CapacityLimiter(1))
    await index.add(range(1, len(data) + 1), data)
    built = time.process_time() - begun
    seen = set(range(1, 1001))
    begun = time.process_time()
    found = [(await index.search(query[None], K, exclude=seen))[0].ids for query in asked]
    spent = (time.process_time() - begun) / len(asked) * 1000
    pairs = zip(found, truth, strict=True)
    recall = np.mean([len({int(i) - 1 for i in a} & b) / max(len(b - set(range(1000))), 1) for a, b in pairs])
    print(f"{len(data):>8}  {'ours':<9} {spent:8.3f} ms  recall {recall:.3f}  built in {built:6.2f} s")


def main(arguments: Sequence[str]) -> None:
    """Measure the sizes asked for."""
    engines = {"compared": compared, "usearch": usearch}
    if importlib.util.find_spec("faiss") is not None:
        # faiss crashes when it is loaded after usearch, so it goes first.
        engines = {"faiss": faiss} | engines
    print(f"top {K} of n x {D}, {QUERIES} queries, CPU time")
    for size in [int(a) for a in arguments] or [2_000, 20_000, 100_000]:
        data, asked = vectors(size, 1), vectors(QUERIES, 2)
        exact = compared(data)
        truth = [set(exact(query)) for query in asked]
        for name, build in engines.items():
            measure(name, build, data, asked, truth)
        asyncio.run(measure_ours(data, asked, truth))


if __name__ == "__main__":
    main(sys.argv[1:])
