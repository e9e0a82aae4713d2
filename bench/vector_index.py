"""Vector search, by measure: comparing all with numpy, usearch's graph, faiss's inverted file where it is installed.

    python -m bench.vector_index [--dimensions 64] [--lie clusters|isotropic] [SIZE ...]

Top 500 of SIZE vectors, one thread, CPU milliseconds a query; recall against comparing all. The vectors lie in 200
clusters, as videos of topics do; without any structure every index misses much, and ours compares all. `ours` is the
adapter that serves, with the hops between threads and with 1,000 ids excluded. usearch takes minutes for a million and
is left out beyond 200,000.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import numpy as np
from numpy.typing import NDArray

K, QUERIES, CLUSTERS = 500, 100, 200
GRAPH_BELOW = 200_000
Floats = NDArray[np.float32]
Search = Callable[[Floats], Sequence[int]]


def vectors(n: int, d: int, seed: int, lie: str) -> Floats:
    """n vectors of length 1, in clusters that are the same for every seed or in all directions alike."""
    random = np.random.default_rng(seed)
    made = random.standard_normal((n, d), dtype=np.float32)
    if lie == "clusters":
        centres = np.random.default_rng(0).standard_normal((CLUSTERS, d), dtype=np.float32)
        made *= np.float32(0.7)
        made += centres[random.integers(0, CLUSTERS, n)]
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


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

    index = Index(ndim=data.shape[1], metric="ip", dtype="f16", expansion_search=K + K // 4)
    index.add(np.arange(len(data)), data, threads=1)
    return lambda query: index.search(query, K, threads=1).keys.tolist()


def faiss(data: Floats) -> Search:
    """An inverted file with 8 bits a dimension."""
    import faiss as lib

    lib.omp_set_num_threads(1)
    lists = int(4 * len(data) ** 0.5)
    index: Any = lib.index_factory(data.shape[1], f"IVF{lists},SQ8", lib.METRIC_INNER_PRODUCT)
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


async def measure_ours(data: Floats, asked: Floats) -> None:
    """Print the row of the adapter, threads and excluding 1,000 ids included."""
    from rank_svc.retrieval.stores.memory import MemoryIndex

    begun = time.process_time()
    index = MemoryIndex(data.shape[1], anyio.CapacityLimiter(1))
    await index.add(range(1, len(data) + 1), data)
    await index.settled()
    built = time.process_time() - begun
    seen = set(range(1, 1001))
    for query in asked:
        await index.search(query[None], K, exclude=seen)
    await index.settled()
    begun = time.process_time()
    found = [(await index.search(query[None], K, exclude=seen))[0].ids for query in asked]
    spent = (time.process_time() - begun) / len(asked) * 1000
    truth = [(await index.search(query[None], K, exclude=seen, exact=True))[0].ids for query in asked]
    recall = np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)])
    print(
        f"{len(data):>8}  {'ours':<9} {spent:8.3f} ms  recall {recall:.3f}  built in {built:6.2f} s"
        f"  {index.nbytes / len(data):.0f} bytes a vector"
    )


def main(arguments: Sequence[str]) -> None:
    """Measure the sizes asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--lie", choices=["clusters", "isotropic"], default="clusters")
    parser.add_argument("sizes", type=int, nargs="*", default=[2_000, 20_000, 100_000])
    chosen = parser.parse_args(arguments)
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        # The library reads it when it is loaded, which has happened.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "bench.vector_index", *arguments])
    print(f"top {K} of n x {chosen.dimensions}, {chosen.lie}, {QUERIES} queries, CPU time", flush=True)
    for size in chosen.sizes:
        engines = {"compared": compared}
        if size <= GRAPH_BELOW:
            engines["usearch"] = usearch
        if importlib.util.find_spec("faiss") is not None:
            # faiss crashes when it is loaded after usearch, so it goes first.
            engines = {"faiss": faiss} | engines
        data, asked = (vectors(n, chosen.dimensions, seed, chosen.lie) for n, seed in ((size, 1), (QUERIES, 2)))
        exact = compared(data)
        truth = [set(exact(query)) for query in asked]
        for name, build in engines.items():
            measure(name, build, data, asked, truth)
        asyncio.run(measure_ours(data, asked))


if __name__ == "__main__":
    main(sys.argv[1:])
