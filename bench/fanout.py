"""Fan-out of one video: inserts a second into followers' inboxes, against the driver alone with the same Lua batches;
the whole job with followers read over gRPC from a real follow graph; memory and resumption with many followers.

    python -m bench.fanout [--followers 100000] [--many 1000000] [--entries 100] [--cluster]

`REELGRAPH_TEST_REDIS_URL`, or with `--cluster` `REELGRAPH_TEST_REDIS_CLUSTER_URL`, names the server, which is emptied;
`REELGRAPH_TEST_NEO4J_URL` the graph, which gets one more creator; without it the graph is SQLite. Every follower has an
inbox of `--entries` posts. Rounds alternate and a ratio is of medians. All of the platform runs in this one process.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvloop

from bench.fanout_sides import SORTED_SET, Bare, Followers, Spent, bare_client, fact, peak_kib, reset_peak, user
from feed_svc.fanout.commands import FanoutCommands
from feed_svc.fanout.store import FanoutJob, FollowGraph, Post
from feed_svc.fanout.stores import redis as inboxes
from feed_svc.fanout.stores.redis import RedisInboxStore
from feed_svc.fanout.stores.rpc import RpcFollowGraph
from feed_svc.fanout.stores.sql import SqlFanoutJobs, SqlTimelineStore
from feed_svc.schema import metadata
from feed_svc.settings import FeedSettings
from graph_svc.follows.queries import FollowQueries
from graph_svc.follows.server import FollowServicer
from graph_svc.follows.store import Edge
from graph_svc.follows.stores import SCHEMES as GRAPH_SCHEMES
from reelgraph.graph.v1 import follows_pb2
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceStub, add_FollowServiceServicer_to_server
from svc_kit.backends import migrate, resolve
from svc_kit.cache import Cache, Call, open_cache
from svc_kit.clock import Clock, SystemClock
from svc_kit.db import Database, connect
from svc_kit.rpc.server import Servicer
from svc_kit.service import Service
from tests.support.clock import FakeClock
from tests.support.platform import BenchPlatform, create_tables, test_platform

ROUNDS = 7
AUTHOR = 77
WINDOW = FeedSettings().fanout_window
FILL_AT_ONCE = 500
MANY_ENTRIES = 3
"""A million inboxes fit into the memory that `make servers` gives Redis."""
Push = Callable[[Post, Sequence[int]], Awaitable[int]]


def post(number: int, author_id: int = AUTHOR) -> Post:
    """A new video of the author's, newer than all before it."""
    return Post(1_000_000 + number, author_id, 1_900_000_000_000 + number)


async def empty(cache: Cache) -> None:
    """Nothing is left in memory."""
    await cache.flushall()
    while await fact(cache, "memory", "lazyfree_pending_objects"):  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def fill(cache: Cache, count: int, entries: int) -> None:
    """An inbox for every follower."""
    await empty(cache)
    store = RedisInboxStore(cache, SystemClock(), ttl_s=86_400, entries=500)
    old = [Post(n, 1000 + n % 50, 1_800_000_000_000 + n) for n in range(entries)]
    assert await store.fill(user(0), await store.begin_fill(user(0)), 1, old)
    value = await cache.get(inboxes._key(user(0)))
    assert value is not None
    before = await fact(cache, "memory", "used_memory")
    for start in range(0, count, FILL_AT_ONCE):
        keys = [inboxes._key(user(i)) for i in range(start, min(start + FILL_AT_ONCE, count))]
        await cache.batch([Call(key, ("SET", key, value, "PX", 86_400_000)) for key in keys])
    used = await fact(cache, "memory", "used_memory") - before
    print(f"{count:,} inboxes of {entries} posts: {used / count:,.0f} bytes each at the servers")


async def windows(push: Push, number: int, ids: Sequence[int]) -> int:
    """Push to all, window by window, as a job does."""
    return sum([await push(post(number), ids[i : i + WINDOW]) for i in range(0, len(ids), WINDOW)])


async def against_the_driver(cache: Cache, client: Any, followers: int) -> None:
    """Inserts alone."""
    ids = [user(i) for i in range(followers)]
    ours = RedisInboxStore(cache, SystemClock(), ttl_s=86_400, entries=500)
    most = 500 * inboxes._SIZE
    packed = Bare(
        client,
        inboxes._PUSH.text,
        inboxes._key,
        lambda p: [inboxes._packed(p), p.published_at_ms, most, most + (1 + inboxes.SLACK) * inboxes._SIZE],
    )
    await packed.load()
    spent = {"ours": Spent(), "the driver alone": Spent()}
    number = 0
    for i in range(ROUNDS + 1):
        ways: list[tuple[str, Push]] = [("ours", ours.push), ("the driver alone", packed.push)]
        for name, push in ways if i % 2 else reversed(ways):
            number += 1
            await (spent[name] if i else Spent()).measure(cache, followers, partial(windows, push, number, ids))
    for name, rounds in spent.items():
        print(rounds.line(f"inserts, {name}", followers))
    wall = statistics.median(spent["the driver alone"].rates) / statistics.median(spent["ours"].rates)
    cpu = statistics.median(spent["ours"].cpu) / statistics.median(spent["the driver alone"].cpu)
    print(f"{'ours against the driver alone':<44} {wall:8.2f}x the time   CPU here {cpu:5.2f}x")


async def against_sorted_sets(cache: Cache, client: Any, count: int = 2000, entries: int = 500) -> None:
    """What full inboxes cost packed, and as one member a post."""
    await fill(cache, count, entries)
    ids = [user(i) for i in range(count)]
    packed = Spent()
    store = RedisInboxStore(cache, SystemClock(), ttl_s=86_400, entries=entries)
    for i in range(ROUNDS):
        await packed.measure(cache, count, partial(windows, store.push, 4000 + i, ids))
    print(packed.line("inserts into full inboxes, ours", count))
    before = await fact(cache, "memory", "used_memory")
    members = [word for n in range(entries) for word in (1_800_000_000_000 + n, f"{n}:{1000 + n % 50}")]
    for start in range(0, count, 10):
        keys = [inboxes._key(user_id) + ":z" for user_id in ids[start : start + 10]]
        await cache.batch([Call(key, ("ZADD", key, *members)) for key in keys])
    used = await fact(cache, "memory", "used_memory") - before
    bare = Bare(
        client,
        SORTED_SET,
        lambda user_id: inboxes._key(user_id) + ":z",
        lambda p: [p.published_at_ms, f"{p.video_id}:{p.author_id}", entries],
    )
    await bare.load()
    spent = Spent()
    for i in range(ROUNDS):
        await spent.measure(cache, count, partial(windows, bare.push, 5000 + i, ids))
    print(f"{'the same as sorted sets':<44} {used / count:,.0f} bytes each at the servers")
    print(spent.line("inserts into sorted sets, the driver alone", count))


@asynccontextmanager
async def job_runner(
    platform: BenchPlatform, cache: Cache, graph: FollowGraph, clock: Clock
) -> AsyncIterator[FanoutCommands]:
    """What runs jobs, with its jobs in a database."""
    db: Database = connect(platform.settings.service_db_url("feed"))
    try:
        yield FanoutCommands(
            SqlTimelineStore(db, clock),
            RedisInboxStore(cache, SystemClock(), ttl_s=86_400, entries=500),
            SqlFanoutJobs(db, clock),
            graph,
            FeedSettings(),
            clock,
            queued=lambda: None,
        )
    finally:
        await db.close()


async def whole(platform: BenchPlatform, cache: Cache, followers: int, graph_url: str) -> None:
    """A job from its row to its end, followers read from the graph over gRPC."""
    async with AsyncExitStack() as stack:
        await migrate("REELGRAPH_TEST_NEO4J_URL", graph_url, GRAPH_SCHEMES)
        graph = await resolve("the graph", graph_url, GRAPH_SCHEMES).open(graph_url)
        stack.push_async_callback(graph.close)
        author = AUTHOR + followers  # The graph keeps its creators from run to run.
        began = time.perf_counter()
        for start in range(0, followers, 10_000):
            some = range(start, min(start + 10_000, followers))
            await graph.apply([Edge(user(i), author, True, 1, i + 1) for i in some])
        print(f"{followers:,} follows in {graph_url.partition(':')[0]} ({time.perf_counter() - began:.0f} s)")
        nothing: Any = None
        servicer = FollowServicer(nothing, FollowQueries(nothing, graph, nothing, nothing), nothing)
        descriptor = follows_pb2.DESCRIPTOR.services_by_name["FollowService"]
        service = Service("graph", [Servicer(descriptor, servicer, add_FollowServiceServicer_to_server)])
        channel = await stack.enter_async_context(platform.serve(service))
        peer = RpcFollowGraph(platform.peer, FollowServiceStub(channel))
        commands = await stack.enter_async_context(job_runner(platform, cache, peer, platform.clock))
        spent, reading = Spent(), Spent()
        for i in range(ROUNDS + 1):
            await commands._queue(FanoutJob(post(10_000 + i, author), 1))

            async def run() -> int:
                await commands.run_next("bench")
                return followers

            async def read() -> int:
                after, count = 0, 0
                while True:
                    page = await peer.active_followers(author, after, 10_000, 1)
                    after, count = page.upto_id, count + len(page.user_ids)
                    if not after:
                        return count

            await (spent if i else Spent()).measure(cache, followers, run)
            await (reading if i else Spent()).measure(cache, followers, read)
        print(spent.line("the whole job", followers))
        print(reading.line("of it, reading the followers", followers).replace("inserts/s", "read/s   "))
        store = RedisInboxStore(cache, SystemClock(), ttl_s=86_400, entries=500)
        for i in (0, followers // 2, followers - 1):
            inbox = await store.read(user(i), 1)
            assert inbox is not None
            assert inbox.posts[0] == post(10_000 + ROUNDS, author)


async def many(platform: BenchPlatform, cache: Cache, count: int) -> None:
    """Memory of a job over very many followers, stopped in the middle and taken up again."""
    await fill(cache, count, MANY_ENTRIES)
    graph = Followers(count)
    later = FakeClock(platform.clock.now() + timedelta(hours=1))
    async with (
        job_runner(platform, cache, graph, platform.clock) as first,
        job_runner(platform, cache, graph, later) as second,
    ):
        await first._queue(FanoutJob(post(1), 1))
        reset_peak()
        before = peak_kib()
        began = time.perf_counter()
        job = asyncio.create_task(first.run_next("first"))
        await graph.half.wait()
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        stopped_at = graph.read
        assert await second.run_next("second")
        spent = time.perf_counter() - began
    grown, again = (peak_kib() - before) / 1024, graph.read - count
    print(f"{count:,} followers: {count / spent:,.0f} inserts/s, peak memory of this process +{grown:.0f} MiB")
    print(f"stopped after reading {stopped_at:,}; taken up by another from its row, {again:,} were read again")
    assert 0 <= again <= 3 * WINDOW
    store = RedisInboxStore(cache, SystemClock(), ttl_s=86_400, entries=500)
    for i in range(0, count, count // 1000):
        inbox = await store.read(user(i), 1)
        assert inbox is not None
        assert [p.video_id for p in inbox.posts[:2]] == [post(1).video_id, MANY_ENTRIES - 1], (i, inbox.posts[:3])
    print("each of 1,000 inboxes looked into has the video once")


async def main(args: argparse.Namespace) -> None:
    """Everything, in turn."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    url = os.environ["REELGRAPH_TEST_REDIS_CLUSTER_URL" if args.cluster else "REELGRAPH_TEST_REDIS_URL"]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reelgraph-bench-")))
        platform = await stack.enter_async_context(test_platform(folder, clock=SystemClock()))
        await create_tables(platform, "feed", metadata)
        cache = await open_cache(url)
        stack.push_async_callback(cache.aclose)
        client = await stack.enter_async_context(bare_client(url))
        print("Redis Cluster" if args.cluster else "Redis")
        await fill(cache, args.followers, args.entries)
        await against_the_driver(cache, client, args.followers)
        graph_url = os.environ.get("REELGRAPH_TEST_NEO4J_URL") or f"sqlite:///{folder}/edges.db"
        await whole(platform, cache, args.followers, graph_url)
        await against_sorted_sets(cache, client)
        if args.many:
            await many(platform, cache, args.many)
        await cache.flushall()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--followers", type=int, default=100_000)
    parser.add_argument("--many", type=int, default=1_000_000, help="0: leave it out")
    parser.add_argument("--entries", type=int, default=100, help="posts in an inbox")
    parser.add_argument("--cluster", action="store_true")
    uvloop.run(main(parser.parse_args()))
