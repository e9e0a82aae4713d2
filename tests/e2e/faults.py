"""`make faults`: each engine fails in turn under a steady load, and a table tells what people saw.

Every engine hangs for half a minute (toxiproxy in front of it holds everything back; where clients follow addresses
that the server itself gives, its process is frozen) and is then killed, and started again half a minute later.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from launcher.demo.client import RequestFailed
from tests.e2e.bounds import Row, problems
from tests.e2e.cluster import ROLES, Cluster, layout, running
from tests.e2e.engine_process import EngineProcess
from tests.e2e.faults_table import line, write_table
from tests.e2e.load import Load, crowd
from tests.e2e.production import fresh_engines
from tests.e2e.resources import Connects, Resources
from tests.e2e.toxiproxy import Toxiproxy
from tests.e2e.world import World, open_world
from tests.support.engines import ADDRESSES

PEOPLE = ("ann", "ben", "cat", "dan")
FAULT_S, AFTER_S = 30.0, 3.0
"""How long an engine is away, and how long the load goes on once it is back."""
GIVEN_UP_S = 120.0
"""What is not right this long after recovery is wrong, not late."""
UPLOADS_UNDER_WAY = 3


@dataclass(frozen=True, slots=True)
class Target:
    """An engine, the setting that chooses it, and whether a proxy can stand before it."""

    name: str
    setting: str
    proxied: bool = True
    scheme: str = ""
    """Used through the proxy instead of the setting's own."""
    instead: bool = False
    """Takes the place of another engine: measured in a platform of its own."""
    ours: bool = True
    """One of `make servers`, whose process can be killed; of another only its address is known, and where the
    environment has none it is passed over."""

    @property
    def url(self) -> str:
        """The server's own URL; empty: there is none."""
        return os.environ.get(ADDRESSES[self.name], "")

    @property
    def address(self) -> str:
        """`host:port` that a proxy passes on to."""
        return EngineProcess(self.name).address() if self.ours else urlsplit(self.url).netloc.rpartition("@")[2]


TARGETS = (
    Target("postgres", "REELGRAPH_DB_URL"),
    # With routing, the server tells its clients where else to go.
    Target("neo4j", "REELGRAPH_GRAPH_URL", scheme="bolt"),
    Target("redis", "REELGRAPH_CACHE_URL"),
    Target("cassandra", "REELGRAPH_WIDE_URL", proxied=False),
    Target("kafka", "REELGRAPH_BUS_URL", proxied=False),
    Target("s3", "REELGRAPH_BLOBS_URL"),
    Target("triton", "REELGRAPH_MODELS_URL"),
    Target("meilisearch", "REELGRAPH_SEARCH_URL", ours=False),
    Target("mysql", "REELGRAPH_DB_URL", instead=True),
    Target("redis-cluster", "REELGRAPH_CACHE_URL", proxied=False, instead=True),
)


Act = Callable[[], Awaitable[None]]


async def measure(target: Target, fault: str, begin: Act, end: Act, cluster: Cluster, load: Load) -> Row:
    """One fault under load."""
    resources, connects = Resources([m.process.pid for m in cluster.members if m.process]), Connects()
    async with connects.watched():
        async with load.running():
            await resources.settled()
            # Acknowledged, and neither verified nor encoded when the fault begins.
            for _ in range(UPLOADS_UNDER_WAY):
                await load.visits.upload()
            before, seen = resources.rss_mib(), load.watch()
            connects.forget()
            try:
                await begin()
                await asyncio.sleep(FAULT_S)
                grown = resources.rss_mib() - before
            finally:
                await end()
            recovered = time.monotonic()
            await asyncio.sleep(AFTER_S)
        caught_up_s, ready_s, wrong = await caught_up(load, recovered)
    return Row(target.name, fault, seen, caught_up_s, ready_s, grown, connects.most_per_s(), wrong)


async def caught_up(load: Load, recovered: float) -> tuple[float | None, float | None, list[str]]:
    """Try everything open again and compare with the books, until all is right or it is given up. When counts were
    right and when uploads were READY, in seconds since recovery; what still differs."""
    counts_s = ready_s = None
    wrong: list[str] = []
    while time.monotonic() < recovered + GIVEN_UP_S and (counts_s is None or ready_s is None):
        wrong = []
        if counts_s is None and not (wrong := await _counts(load)):
            counts_s = round(time.monotonic() - recovered, 1)
        if ready_s is None and not (unready := await _uploads(load)):
            ready_s = round(time.monotonic() - recovered, 1)
        elif ready_s is None:
            wrong = [*wrong, *unready]
        await asyncio.sleep(0.3)
    return counts_s, ready_s, wrong


async def _counts(load: Load) -> list[str]:
    pending, load.ledger.pending = load.ledger.pending, []
    for operation in pending:
        await load.ledger.attempt(operation, load.people)
    if load.ledger.pending:
        return [f"{len(load.ledger.pending)} writes are still refused"]
    try:
        return await load.ledger.differences(load.people, load.videos)
    except (RequestFailed, httpx.TransportError) as error:
        return [f"counts can't be read: {error}"]


async def _uploads(load: Load) -> list[str]:
    for _ in load.uploads.pending[:]:
        await load.visits.upload()
    try:
        return await load.uploads.differences(load.people)
    except (RequestFailed, httpx.TransportError) as error:
        return [f"uploads can't be read: {error}"]


async def run(folder: Path, chosen: Sequence[Target], measured: Callable[[Row], None]) -> list[Row]:
    """All faults of the chosen engines, one after the other, on one platform; on a second one those that stand in
    place of others. `measured` is told each row as it is there."""
    rows = []
    for instead in (False, True):
        if targets := [target for target in chosen if target.instead == instead]:
            rows += await run_on(folder / f"platform-{int(instead)}", targets, measured, instead=instead)
    return rows


async def run_on(
    folder: Path, chosen: Sequence[Target], measured: Callable[[Row], None], *, instead: bool
) -> list[Row]:
    """All faults of the chosen engines on one platform. `instead`: on MySQL and Redis Cluster."""
    dice, rows = random.Random(7), []
    async with AsyncExitStack() as stack:
        proxies = await stack.enter_async_context(Toxiproxy(os.environ["REELGRAPH_TEST_TOXIPROXY_URL"]))
        names = {"database": "mysql", "cache": "redis-cluster"} if instead else {}
        engines = dict(await stack.enter_async_context(fresh_engines(**names)))
        replaced = {t.setting for t in TARGETS if t.instead} if instead else set()
        there = [t for t in TARGETS if t.instead == instead or not (t.instead or t.setting in replaced)]
        for target in (t for t in there if t.proxied and t.setting in engines):
            listen = await proxies.add(target.name, target.address)
            engines[target.setting] = through(engines[target.setting], listen, target.scheme)
        cluster = layout(folder / "cluster", engines, dict.fromkeys(ROLES, 1))
        await stack.enter_async_context(running(cluster))
        world = await stack.enter_async_context(open_world(cluster, folder))
        videos = [await _publish(world, seed) for seed in range(12)]
        people = await stack.enter_async_context(crowd([cluster.base], PEOPLE, dice))
        clip = await world.clip("cats", 59, seconds=1, width=90, height=160)
        load = Load(people, videos, clip.read_bytes(), dice)
        for target in chosen:
            for fault, begin, end in faults(target, proxies):
                row = await measure(target, fault, begin, end, cluster, load)
                rows.append(row)
                measured(row)
                for member in cluster.members:
                    if not member.alive:
                        raise RuntimeError(f"{member.name} has ended\n{member.tail()}")
    return rows


def faults(target: Target, proxies: Toxiproxy) -> list[tuple[str, Act, Act]]:
    """Name, beginning and end of each fault of an engine."""
    if not target.ours:
        cut = ("cut off (toxiproxy)", lambda: proxies.cut(target.name), lambda: proxies.mend(target.name))
        return [("hangs (toxiproxy)", lambda: proxies.hang(target.name), lambda: proxies.unhang(target.name)), cut]
    process = EngineProcess(target.name)
    hang: tuple[str, Act, Act] = ("hangs (frozen)", process.freeze, process.thaw)
    if target.proxied:
        hang = ("hangs (toxiproxy)", lambda: proxies.hang(target.name), lambda: proxies.unhang(target.name))
    return [hang, ("kill -9", process.kill, process.start)]


def through(url: str, listen: str, scheme: str) -> str:
    """The same URL by way of the proxy at `listen`."""
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    netloc = f"{credentials}@{listen}" if credentials else listen
    return urlunsplit((scheme or parts.scheme, netloc, parts.path, parts.query, parts.fragment))


async def _publish(world: World, seed: int) -> str:
    path = await world.clip("cats", 60 + seed, seconds=1, width=90, height=160)
    return await world.publish(f"author{seed % 3}", path, f"no. {seed}")


def main() -> int:
    """Exit status 1, and a line for each, when a bound was broken."""
    parser = argparse.ArgumentParser(description="What people see while each engine fails.")
    parser.add_argument("engines", nargs="*", help=f"of: {' '.join(t.name for t in TARGETS)}; none: all")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    given = parser.parse_args()
    named = {name for word in given.engines for name in word.split(",")}
    if unknown := named - {target.name for target in TARGETS}:
        parser.error(f"no such engine: {', '.join(sorted(unknown))}")
    chosen = [target for target in TARGETS if not named or target.name in named]
    for target in [target for target in chosen if not (target.ours or target.url)]:
        print(f"{target.name}: skipped, {ADDRESSES[target.name]} names no server", flush=True)
        chosen.remove(target)

    def measured(row: Row) -> None:
        print(line(row), *problems(row), sep="\n      ", flush=True)
        if given.write:
            write_table([row], [target.name for target in TARGETS])

    with tempfile.TemporaryDirectory(prefix="reelgraph-faults-") as folder:
        rows = asyncio.run(run(Path(folder), chosen, measured))
    broken = [f"{row.engine}, {row.fault}: {problem}" for row in rows for problem in problems(row)]
    print(*broken, sep="\n", end="\n" if broken else "", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
