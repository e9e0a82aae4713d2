"""Retrieval and ranking end to end over gRPC, against the bare index and onnxruntime on the same data in the same run.

    python -m bench.retrieval [--callers 1,8,32] [SIZE ...]

SIZE videos (10,000, 100,000 and 1,000,000) lie in the service's own database, with 64 viewers' histories of 50, four in
five of these of two tags that a viewer likes. A fresh
replica takes them over by the code that does so at every start: rows, item tower, index. Then over a Unix socket:
RetrieveCandidates for 500 of TASTE with 1,000 videos excluded, the same for the default 550 of all sources, and
RankCandidates for 100 videos. The limit beside each: for retrieval, the user tower alone and comparing all vectors
with numpy (faiss's IVF,SQ8 where it is installed); for ranking, the ranker alone on the rows that the service made.
CPU is of this process, client and server together.
`--trained MODEL` serves a version that `reelgraph train` wrote in place of the packaged one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import logging
import os
import random
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import structlog
import uvloop
from numpy.typing import NDArray

import rank_svc.build
from bench.harness import percentile
from rank_svc.context import RankContext
from rank_svc.features.store import Interaction, VideoFacts, VideoState
from rank_svc.features.stores import rows as mapping
from rank_svc.features.stores import tables as t
from rank_svc.retrieval.taste import ViewerInput
from rank_svc.retrieval.wiring import Retrieval
from rank_svc.schema import metadata, outbox, replies
from rank_svc.scorers.wiring import PACKAGED
from rank_svc.settings import RankSettings
from reelgraph.rank.v1 import ranking_pb2, ranking_pb2_grpc, retrieval_pb2, retrieval_pb2_grpc
from reelgraph.rank.v1.features_pb2 import ViewerContext
from svc_kit.clock import SystemClock, now_ms
from svc_kit.db import Database, connect
from svc_kit.rpc.client import AS_SERVICE
from svc_kit.service import Service
from svc_kit.uow import UnitOfWork
from tests.support.platform import BenchPlatform, create_tables, test_platform

TAGS, AUTHOR_VIDEOS = 400, 20
VIEWERS, HISTORY, CANDIDATES, K = 64, 50, 100, 500
EXCLUDED = 1000
TAGGED = 2000
"""Of each 20,000 videos so many may be watched."""
SOURCES = {"TASTE": 200, "SIMILAR_VIEWERS": 100, "SIMILAR_VIDEO": 100, "NEW": 50, "COLD_START": 100}
CALLS = 256
DAY_MS = 86_400_000
Floats = NDArray[np.float32]
Call = Callable[[int], Awaitable[Any]]


def video(i: int, dice: random.Random, now: int) -> VideoState:
    """One of many: two or three tags, the frequent ones more often."""
    tags = {f"tag{int(TAGS * dice.random() ** 2)}" for _ in range(dice.randint(2, 3))}
    facts = VideoFacts(
        *(i, 10_000_000 + i // AUTHOR_VIDEOS, tuple(sorted(tags)), dice.choice(["en", "es", "zh"]), "PUBLIC"),
        duration_ms=dice.randint(3000, 60_000),
        has_audio=True,
        published_at_ms=now - dice.randint(DAY_MS, 90 * DAY_MS),
    )
    return VideoState(facts, 1, True, False, now - DAY_MS)


def watched_by(tagged: Mapping[str, Sequence[int]], size: int, dice: random.Random) -> list[int]:
    """What one viewer watched: mostly of a taste."""
    taste = dice.sample(sorted(tagged), 2)
    own = [i for tag in taste for i in dice.sample(tagged[tag], min(len(tagged[tag]), HISTORY // 2))]
    return list(dict.fromkeys([*own[: HISTORY * 4 // 5], *dice.sample(range(1, size + 1), HISTORY)]))[:HISTORY]


async def write(db: Database, size: int, dice: random.Random) -> None:
    """Rows of all videos, what was done with some of them, and histories."""
    now = now_ms(SystemClock())
    tagged: defaultdict[str, list[int]] = defaultdict(list)
    async with db.write() as connection:
        for start in range(1, size + 1, 20_000):
            some = [video(i, dice, now) for i in range(start, min(start + 20_000, size + 1))]
            await connection.execute(t.videos.insert(), [mapping.state_row(one) for one in some])
            for one in some[:TAGGED]:
                for tag in one.facts.hashtags:
                    tagged[tag].append(one.facts.video_id)
        seen = [dice.randint(1, size) for _ in range(20_000)]
        watched = [
            {"video_id": i, "impressions": 50, "views": 40, "completions": 12, "watched_ms": 300_000, "ratio_sum": 20.0}
            for i in sorted(set(seen))
        ]
        await connection.execute(t.video_stats.insert(), watched)
        await connection.execute(
            t.viewer_history.insert(),
            [
                mapping.interaction_row(
                    viewer, Interaction(i, 0, 9000, 10_000, now - n * 60_000, completed=n % 2 == 0, liked=n % 5 == 0)
                )
                for viewer in range(1, VIEWERS + 1)
                for n, i in enumerate(watched_by(tagged, size, dice))
            ],
        )


@dataclass
class Served:
    """A replica, and a channel to it."""

    retrieval: Retrieval
    platform: BenchPlatform
    channel: Any
    dice: random.Random
    size: int

    def retrieve(self, sources: Mapping[str, int]) -> Call:
        """Candidates for the i-th viewer."""
        stub = retrieval_pb2_grpc.RetrievalServiceStub(self.channel)
        quotas = [retrieval_pb2.SourceQuota(source=f"CANDIDATE_SOURCE_{s}", limit=n) for s, n in sources.items()]
        excluded = self.dice.sample(range(1, self.size + 1), EXCLUDED)

        async def call(i: int) -> Any:
            request = retrieval_pb2.RetrieveCandidatesRequest(
                viewer=ViewerContext(viewer_id=1 + i % VIEWERS), quotas=quotas, exclude_video_ids=excluded
            )
            return await self.platform.peer.call(stub.RetrieveCandidates, request, AS_SERVICE, timeout_s=60)

        return call

    def rank(self) -> Call:
        """Scores of other videos each time, so that no cache of features helps."""
        stub = ranking_pb2_grpc.RankingServiceStub(self.channel)

        async def call(i: int) -> Any:
            ids = self.dice.sample(range(1, self.size + 1), CANDIDATES)
            request = ranking_pb2.RankCandidatesRequest(viewer=ViewerContext(viewer_id=1 + i % VIEWERS), video_ids=ids)
            return await self.platform.peer.call(stub.RankCandidates, request, AS_SERVICE, timeout_s=60)

        return call


@asynccontextmanager
async def served(folder: Path, size: int, model: str) -> AsyncIterator[Served]:
    """The service with so many videos, before its replica has looked at them."""
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(test_platform(folder, clock=SystemClock(), models_url=model))
        await create_tables(platform, "rank", metadata)
        db = connect(platform.settings.service_db_url("rank"))
        stack.push_async_callback(db.close)
        dice = random.Random(size)
        await write(db, size, dice)
        settings = RankSettings(feature_cache_s=0)
        context = RankContext(
            *(platform, db, UnitOfWork(db, outbox, replies, platform.ids, platform.clock), settings),
            *(anyio.CapacityLimiter(settings.compute_threads), stack),
        )
        domains = await rank_svc.build._wire(context)
        (retrieval,) = (domain for domain in domains if isinstance(domain, Retrieval))
        service = Service("rank", [servicer for domain in domains for servicer in domain.servicers])
        channel = await stack.enter_async_context(platform.serve(service))
        yield Served(retrieval, platform, channel, dice, size)


@dataclass
class Spent:
    """Of many calls."""

    seconds: list[float]
    cpu_ms: float
    """A call."""
    rate: float

    def __str__(self) -> str:
        half, most = (percentile(self.seconds, share) * 1000 for share in (0.5, 0.99))
        return f"CPU {self.cpu_ms:7.2f} ms  p50 {half:7.2f} ms  p99 {most:7.2f} ms  {self.rate:6.0f}/s"


async def measure(call: Call, callers: int, calls: int = CALLS) -> Spent:
    """So many callers, one call after another each."""
    queue, seconds = iter(range(calls)), list[float]()

    async def work() -> None:
        for i in queue:
            began = time.perf_counter()
            await call(i)
            seconds.append(time.perf_counter() - began)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(callers)))
    wall = time.perf_counter() - wall
    return Spent(seconds, (time.process_time() - cpu) / calls * 1000, calls / wall)


def alone(work: Callable[[int], object], calls: int = CALLS) -> float:
    """CPU milliseconds of a call without anything around it."""
    work(0)
    cpu = time.process_time()
    for i in range(calls):
        work(i)
    return (time.process_time() - cpu) / calls * 1000


class Recorder:
    """`LoadedModels` that keeps what the models were last asked, and runs them bare."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.inputs = inner.inputs
        self.asked: dict[str, dict[str, NDArray[Any]]] = {}

    async def run(self, model: str, feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """See `LoadedModels.run`."""
        self.asked[model] = dict(feed)
        answer: NDArray[Any] = await self._inner.run(model, feed)
        return answer

    async def release(self) -> None:
        """See `LoadedModels.release`."""
        await self._inner.release()

    def bare(self, model: str) -> Callable[[int], object]:
        """The model alone on what it was last asked."""
        session, feed = self._inner._sessions[model], self.asked[model]
        return lambda _: session.run(None, feed)


def bare_indexes(data: Floats, asked: Floats) -> dict[str, Callable[[int], Any]]:
    """Top K of the i-th of `asked` by libraries, by name: places in `data`."""

    def compared(i: int) -> Any:
        scores = data @ asked[i % len(asked)]
        best = np.argpartition(-scores, K - 1)[:K]
        return best[np.argsort(-scores[best])]

    found: dict[str, Callable[[int], Any]] = {"comparing all": compared}
    if importlib.util.find_spec("faiss") is not None:
        import faiss

        faiss.omp_set_num_threads(1)
        lists = int(4 * len(data) ** 0.5)
        index: Any = faiss.index_factory(data.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.train(data[: lists * 40])
        index.add(data)
        index.nprobe = max(8, lists // 12)
        found["faiss IVF,SQ8"] = lambda i: index.search(asked[i % len(asked)][None], K)[1][0]
    return found


async def recall(it: Served) -> float:
    """Of the index that serves, top K of real viewers' vectors, against comparing all."""
    index, shares = it.retrieval.replica.serving.videos, []
    for viewer in range(1, VIEWERS + 1):
        vector = (await it.retrieval.tastes.of(ViewerInput(viewer))).vector[None]
        (found,), (exact,) = await index.search(vector, K), await index.search(vector, K, exact=True)
        shares.append(len(np.intersect1d(found.ids, exact.ids)) / len(exact.ids))
    return float(np.mean(shares))


async def fill(it: Served) -> None:
    """Rows to vectors to lists, as at every start."""
    gc.collect()
    cpu, wall, before = time.process_time(), time.perf_counter(), rss_mib()
    await it.retrieval.refresh.videos()
    rows = time.process_time() - cpu
    index: Any = it.retrieval.replica.serving.videos
    await index.settled()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(
        f"{it.size:>9,} videos taken over: {wall:6.1f} s, CPU {rows:6.1f} s for rows and towers, {cpu - rows:5.1f} s "
        f"more for the lists; +{rss_mib() - before:,.0f} MiB"
    )


def rss_mib() -> float:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1024**2


async def compare(it: Served, recorder: Recorder, callers: Sequence[int]) -> None:
    """Print the rows of one size."""
    await it.retrieval.refresh.viewers()
    taste_alone, all_sources, ranking = it.retrieve({"TASTE": K}), it.retrieve(SOURCES), it.rank()
    for call in (taste_alone, all_sources, ranking):
        await measure(call, 1, 32)
    ids = range(1, it.size + 1)
    vectors, _ = it.retrieval.replica.serving.videos.vectors(ids)
    asked = np.stack([(await it.retrieval.tastes.of(ViewerInput(1 + i))).vector for i in range(VIEWERS)])
    tower = alone(recorder.bare("user_tower"))
    bare = bare_indexes(vectors, asked)
    limits = {name: alone(work, VIEWERS) for name, work in bare.items()}
    for name, work in bare.items():
        shares = [len(np.intersect1d(work(i), bare["comparing all"](i))) / K for i in range(0, VIEWERS, 4)]
        print(f"{it.size:>9,} {name}: {limits[name]:.2f} ms of CPU, recall@{K} {np.mean(shares):.3f}")
    del vectors, bare
    ranker = alone(recorder.bare("ranker"))
    print(f"{'':>9} recall@{K} {await recall(it):.3f}; alone: user tower {tower:.2f} ms, ranker {ranker:.2f} ms of CPU")
    for n in callers:
        for name, call in (("500 of TASTE", taste_alone), ("550 of all sources", all_sources)):
            spent = await measure(call, n)
            ratios = "  ".join(f"{spent.cpu_ms / (tower + ms):.2f}x tower + {what}" for what, ms in limits.items())
            print(f"{it.size:>9,} {name:<19} {n:>2} at once  {spent}  {ratios}", flush=True)
        spent = await measure(ranking, n)
        print(
            f"{it.size:>9,} {'rank 100':<19} {n:>2} at once  {spent}  {spent.cpu_ms / ranker:.1f}x ranker", flush=True
        )


async def main(sizes: Sequence[int], callers: Sequence[int], model: str) -> None:
    """Each size in turn."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="reelgraph-bench-") as folder:
            async with served(Path(folder), size, model) as it:
                scorer: Any = it.retrieval.replica.serving.scorer
                recorder = scorer._models = Recorder(scorer._models)
                await fill(it)
                await compare(it, recorder, callers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", default="1,8,32")
    parser.add_argument("--trained", type=Path, help="the version to serve; else the packaged one")
    parser.add_argument("sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        # The library reads it when it is loaded, which has happened.
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "bench.retrieval", *sys.argv[1:]])
    chosen = parser.parse_args()
    serving = (chosen.trained.resolve() if chosen.trained else PACKAGED).as_uri()
    uvloop.run(main(chosen.sizes, [int(n) for n in chosen.callers.split(",")], serving))
