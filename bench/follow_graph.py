"""Batches of follow events, pages and friends of friends in Neo4j, against the driver alone with the same statements; a
burst of follows of one creator against the same number spread; what a creator with many followers costs.

    python -m bench.follow_graph [--followers 200000]

`REELGRAPH_TEST_NEO4J_URL` names the server; its graph is made empty. Rounds alternate and a ratio is of medians; CPU is
this process's alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import uvloop
from neo4j import READ_ACCESS, AsyncDriver, AsyncManagedTransaction, Query

from bench.harness import percentile
from graph_svc.follows.store import Edge
from graph_svc.follows.stores import neo4j_cypher as cypher
from graph_svc.follows.stores.neo4j import MAX_FRIENDS, MAX_VIA, POPULAR_FROM, Neo4jFollowGraph, migrate
from graph_svc.follows.stores.neo4j import open as open_graph
from graph_svc.follows.stores.neo4j_server import Address

ACCOUNTS = 20_000
BATCH = 500
ROUNDS = 15
BATCHES = 4
READS = 100
WALKS = 10
BURST = 1000
WRITERS = 12
FEW, MANY = 10_000_000, 10_000_001
_END = 2**63 - 1


@dataclass
class Spent:
    """Seconds on the clock and of CPU, a round each."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    async def measure(self, body: Callable[[], Awaitable[object]]) -> None:
        """One more round."""
        wall, cpu = time.perf_counter(), time.process_time()
        await body()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


class Bare:
    """The driver with the same statements and nothing around them."""

    def __init__(self, driver: AsyncDriver, database: str | None) -> None:
        self._driver = driver
        self._database = database

    async def apply(self, edges: Sequence[Edge]) -> None:
        """A batch of new follows."""

        async def work(tx: AsyncManagedTransaction) -> None:
            await (await tx.run(cypher.HELD, keys=[[e.from_id, e.to_id] for e in edges])).values()
            rows = [[e.from_id, e.to_id, e.version, e.event_id] for e in edges]
            await (await tx.run(cypher.BEGIN, rows=rows, popular=POPULAR_FROM)).values()

        async with self._driver.session(database=self._database) as session:
            await session.execute_write(work)

    async def read(self, statement: Query, **parameters: Any) -> list[list[Any]]:
        """All rows."""
        async with self._driver.session(database=self._database, default_access_mode=READ_ACCESS) as session:
            return await (await session.run(statement, parameters)).values()


async def alternate(
    what: str, each: int, ours: Callable[[int], Awaitable[object]], bare: Callable[[int], Awaitable[object]]
) -> None:
    """Rounds of both in turn; a warming one first. `each`: operations a round."""
    spent = {"ours": Spent(), "bare": Spent()}
    await ours(-2)
    await bare(-1)
    for i in range(ROUNDS):
        both = [("ours", partial(ours, 2 * i + 1)), ("bare", partial(bare, 2 * i))]
        for name, body in both if i % 2 else reversed(both):
            await spent[name].measure(body)
    mine, theirs = spent["ours"], spent["bare"]
    wall = statistics.median(mine.wall) / statistics.median(theirs.wall)
    cpu = statistics.median(mine.cpu) / statistics.median(theirs.cpu)
    print(
        f"{what:<36} ours {statistics.median(mine.wall) / each * 1000:8.3f} ms each, driver alone "
        f"{statistics.median(theirs.wall) / each * 1000:8.3f}   {wall:5.2f}x   CPU {cpu:5.2f}x"
    )


async def batches(graph: Neo4jFollowGraph, bare: Bare) -> None:
    """New follows between accounts that the graph knows."""
    chance = random.Random(1)
    people = range(1, ACCOUNTS + 1)
    await graph.apply([Edge(a, a % ACCOUNTS + 1, True, 1, a) for a in people])
    count = (2 * ROUNDS + 2) * BATCHES * BATCH
    pairs: set[tuple[int, int]] = set()
    while len(pairs) < count:
        a, b = chance.randint(1, ACCOUNTS), chance.randint(1, ACCOUNTS)
        if a != b and b != a % ACCOUNTS + 1:
            pairs.add((a, b))
    rounds = [sorted(p) for p in _parts(chance.sample(sorted(pairs), count), BATCHES * BATCH)]

    async def run(apply: Callable[[Sequence[Edge]], Awaitable[None]], i: int) -> None:
        for j, batch in enumerate(_parts(rounds[i], BATCH)):
            await apply([Edge(a, b, True, 1, 10**6 + i * 10**5 + j * BATCH + k) for k, (a, b) in enumerate(batch)])

    await alternate(
        "follow events, batches of 500", BATCHES, lambda i: run(graph.apply, i), lambda i: run(bare.apply, i)
    )


async def reads(graph: Neo4jFollowGraph, bare: Bare) -> None:
    """Pages of 50 and friends of friends of accounts with about eighteen followees."""

    async def ours_pages(i: int) -> None:
        for user_id in _some(i, READS):
            await graph.followees(user_id, 0, 50)

    async def bare_pages(i: int) -> None:
        for user_id in _some(i, READS):
            await bare.read(cypher.FOLLOWEES, id=user_id, before=_END, limit=50)

    async def ours_walks(i: int) -> None:
        for user_id in _some(i, WALKS):
            await graph.friends_of_friends(user_id, 200)

    async def bare_walks(i: int) -> None:
        for user_id in _some(i, WALKS):
            statement = cypher.FRIENDS_OF_FRIENDS
            await bare.read(statement, viewer=user_id, friends=MAX_FRIENDS, limit=200, named=MAX_VIA)

    await alternate("a page of followees", READS, ours_pages, bare_pages)
    await alternate("friends of friends, 200", WALKS, ours_walks, bare_walks)


async def burst(graph: Neo4jFollowGraph) -> None:
    """1,000 follows by 1,000 people, a batch of 25 at a time from each of 12 writers: of one creator, or of 1,000."""
    spent = {"one": Spent(), "spread": Spent()}
    for i in range(ROUNDS + 1):
        for j, name in enumerate(("one", "spread") if i % 2 else ("spread", "one")):
            base = 20_000_000 + (2 * i + j) * 10_000
            edges = [Edge(base + k, base + 5000 + (0 if name == "one" else k), True, 1, base + k) for k in range(BURST)]
            # Everybody has an account already, and follows somebody: what is measured is the follow.
            await graph.apply([Edge(e.from_id, base + 9000 + k % 500, True, 1, 1) for k, e in enumerate(edges)])
            await graph.apply([Edge(base + 9500 + k % 500, e.to_id, True, 1, 1) for k, e in enumerate(edges)])
            queue = iter(list(_parts(edges, 25)))

            async def writer(queue: Any = queue) -> None:
                for batch in queue:
                    await graph.apply(batch)

            run = lambda writer=writer: asyncio.gather(*(writer() for _ in range(WRITERS)))  # noqa: E731
            await (spent[name] if i else Spent()).measure(run)
    one, spread = statistics.median(spent["one"].wall), statistics.median(spent["spread"].wall)
    what = "1,000 follows of one creator"
    print(f"{what:<36} {one * 1000:8.1f} ms, of 1,000 {spread * 1000:8.1f}   {one / spread:5.2f}x")


async def famous(graph: Neo4jFollowGraph, followers: int) -> None:
    """Reads of a creator with many followers against those of one with ten."""
    started = time.perf_counter()
    await graph.apply([Edge(i, FEW, True, 1, i) for i in range(1, 11)])
    for part in _parts(range(1, followers + 1), 10_000):
        await graph.apply([Edge(i, MANY, True, 1, i) for i in part])
    print(f"{followers:,} followers of one creator applied in {time.perf_counter() - started:.1f} s")
    asked: dict[str, Callable[[int], Awaitable[object]]] = {
        "counts": lambda user_id: graph.degrees([user_id], 5),
        "newest 50 followers": lambda user_id: graph.followers(user_id, 0, 50),
        "50 from the middle": lambda user_id: graph.followers(user_id, followers // 2, 50),
        "10,000 ids for fan-out": lambda user_id: graph.follower_ids(user_id, followers // 2, 10_000),
    }
    for what, body in asked.items():
        spent = {MANY: Spent(), FEW: Spent()}
        for _ in range(100):
            for user_id in (MANY, FEW):
                await spent[user_id].measure(partial(body, user_id))
        many, few = (percentile(spent[user_id].wall[10:], 0.5) * 1000 for user_id in (MANY, FEW))
        print(f"{what:<36} {many:8.3f} ms with {followers:,} followers, {few:8.3f} with 10")


def _some(i: int, count: int) -> list[int]:
    """The same accounts for both sides."""
    return random.Random(i // 2).sample(range(1, ACCOUNTS + 1), count)


def _parts(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


async def main(followers: int) -> None:
    """Everything, in turn."""
    url = os.environ["REELGRAPH_TEST_NEO4J_URL"]
    print(await migrate(url))
    graph = await open_graph(url)
    address = Address.of(url)
    try:
        await graph.replace((0, 0), None, [], 2**62)
        async with address.driver() as driver:
            bare = Bare(driver, address.database)
            await batches(graph, bare)
            await reads(graph, bare)
        await burst(graph)
        await famous(graph, followers)
    finally:
        await graph.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=100_000)
    uvloop.run(main(parser.parse_args().followers))
