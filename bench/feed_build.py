"""A first page of For You that has to be built: CPU, memory and latency, by size of the catalogue and callers at once.

    python -m bench.feed_build [--callers 1,8,32] [SIZE ...]

feed_svc's builder over a real rank_svc by gRPC, both in this process; videos, relations and interests come from memory
(`tests/support/feed_fakes.py`), so what other services and their databases cost is left out. 64 viewers have watched 20
videos each; every page is one viewer's first and after it they watch another one, so that nothing is a hit. CPU is of
the whole process. The limit beside it is the two RPCs alone, asked as the builder asks them. Memory is what Python and
numpy allocate (tracemalloc) while one page is built, at its highest, and what stays; in a run of its own, as it slows.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import uvloop

from bench.harness import percentile
from feed_svc.feeds.store import Ranked, Retrieved, ViewerContext
from feed_svc.feeds.stores.rpc import RpcRanker, RpcRetrieval
from feed_svc.feeds.wiring import Peers
from feed_svc.schema import metadata
from rank_svc.scorers.wiring import PACKAGED
from tests.support.feed_fakes import Bench, World, process
from tests.support.platform import create_tables
from tests.support.rank import RankBench, rank_bench

TOPICS, VIEWERS, WATCHED, TOLD_AT_ONCE = 100, 64, 20, 500
FIRST_VIEWER, FIRST_VIDEO = 1000, 100_000


class Asked:
    """Retrieval and ranking, remembering what they were asked: the same again is the limit."""

    def __init__(self, rank: RankBench) -> None:
        self._retrieval = RpcRetrieval(rank.platform.peer, rank.retrieval)
        self._ranker = RpcRanker(rank.platform.peer, rank.ranking)
        self.calls: list[Callable[[], Awaitable[object]]] = []

    async def retrieve(self, viewer: ViewerContext, *more: Any, **named: Any) -> Retrieved:
        """See `Retrieval`."""
        self.calls.append(lambda: self._retrieval.retrieve(viewer, *more, **named))
        return await self._retrieval.retrieve(viewer, *more, **named)

    async def rank(self, viewer: ViewerContext, *more: Any, **named: Any) -> Ranked:
        """See `Ranker`."""
        self.calls.append(lambda: self._ranker.rank(viewer, *more, **named))
        return await self._ranker.rank(viewer, *more, **named)


@asynccontextmanager
async def built(folder: Path, size: int) -> AsyncIterator[tuple[Bench, RankBench, Asked]]:
    """Both services over one catalogue."""
    dice = random.Random(size)
    async with rank_bench(folder / "data", PACKAGED) as rank:
        await create_tables(rank.platform, "feed", metadata)
        world = World(rank.clock)
        for i in range(size):
            topic = f"topic{int(TOPICS * dice.random() ** 2)}"
            world.add(FIRST_VIDEO + i, 10 + i // 10, topic, age_h=dice.uniform(1, 2000))
        asked = Asked(rank)
        async with process(world, rank.platform, peers=Peers(world, world, world, asked, asked)) as bench:
            story = rank.story
            events = [
                story.published(
                    *(video.video_id, video.author_id, video.hashtags),
                    published_at_ms=video.created_at_ms,
                    duration_ms=5000,
                    language="en",
                )
                for video in world.videos.values()
            ]
            for viewer in viewers():
                seen = dice.sample(list(world.videos), WATCHED)
                events += [story.watched(viewer, v, dice.choice([0.1, 1.0]), duration_ms=5000) for v in seen]
                await bench.watch(*seen, viewer=viewer)
            for start in range(0, len(events), TOLD_AT_ONCE):
                await rank.tell(*events[start : start + TOLD_AT_ONCE])
            await rank.refresh()
            yield bench, rank, asked


def viewers() -> range:
    """Their ids."""
    return range(FIRST_VIEWER, FIRST_VIEWER + VIEWERS)


async def measure(what: str, calls: Sequence[Callable[[], Awaitable[object]]], callers: int) -> float:
    """Print the row; CPU milliseconds a call."""
    queue, seconds = iter(calls), list[float]()

    async def work() -> None:
        for call in queue:
            began = time.perf_counter()
            await call()
            seconds.append(time.perf_counter() - began)

    gc.collect()
    cpu = time.process_time()
    await asyncio.gather(*(work() for _ in range(callers)))
    each = (time.process_time() - cpu) / len(seconds) * 1000
    half, most = percentile(seconds, 0.5) * 1000, percentile(seconds, 0.99) * 1000
    print(f"  {what:<28} {callers:>2} at once  CPU {each:6.1f} ms  p50 {half:7.1f} ms  p99 {most:7.1f} ms", flush=True)
    return each


async def pages(bench: Bench, asked: Asked, callers: int) -> None:
    """One page a viewer, and the RPCs of those alone."""
    for viewer in viewers():
        await bench.watch(random.Random(viewer + callers).choice(list(bench.world.videos)), viewer=viewer)
    asked.calls.clear()

    def page(viewer: int) -> Callable[[], Awaitable[object]]:
        async def call() -> None:
            found = await bench.page(viewer=viewer)
            assert len(found.edges) == 10
            assert not found.is_stale

        return call

    cpu = await measure("a page that is built", [page(viewer) for viewer in viewers()], callers)
    calls = list(asked.calls)
    assert len(calls) == 2 * VIEWERS, len(calls)
    alone = await measure("each of its two RPCs alone", calls, callers)
    print(f"  the page costs {cpu / alone / 2:.2f}x its RPCs")


async def memory(bench: Bench) -> None:
    """Of one page at a time."""
    highest, kept = [], []
    tracemalloc.start()
    for viewer in viewers():
        await bench.watch(random.Random(viewer).choice(list(bench.world.videos)), viewer=viewer)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        await bench.page(viewer=viewer)
        highest.append((tracemalloc.get_traced_memory()[1] - before) / 1024**2)
        gc.collect()
        kept.append((tracemalloc.get_traced_memory()[0] - before) / 1024**2)
    tracemalloc.stop()
    print(
        f"  memory of a page, both services: median {statistics.median(highest):.2f} MiB, most {max(highest):.2f} MiB; "
        f"kept {statistics.median(kept):.3f} MiB"
    )


async def main(sizes: Sequence[int], callers: Sequence[int]) -> None:
    """Each size in turn."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="reelgraph-bench-") as folder:
            async with built(Path(folder), size) as (bench, _, asked):
                print(f"{size:,} videos, {VIEWERS} viewers")
                await pages(bench, asked, 1)
                for n in callers:
                    await pages(bench, asked, n)
                await memory(bench)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", default="1,8,32")
    parser.add_argument("sizes", type=int, nargs="*", default=[1000, 10_000])
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        # The library reads it when it is loaded, which has happened.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "bench.feed_build", *sys.argv[1:]])
    chosen = parser.parse_args()
    uvloop.run(main(chosen.sizes, [int(n) for n in chosen.callers.split(",")]))
