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
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.e2e.cluster import ROLES, Cluster, layout, running
from tests.e2e.engine_process import EngineProcess
from tests.e2e.load import Load, Seen, crowd
from tests.e2e.production import fresh_engines
from tests.e2e.resources import Resources
from tests.e2e.toxiproxy import Toxiproxy
from tests.e2e.world import World, open_world

PEOPLE = ("ann", "ben", "cat", "dan")
CALM_S, FAULT_S, RECOVERY_S = 5.0, 30.0, 30.0
TABLE = Path("docs/reliability.md")
HONEST = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


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


TARGETS = (
    Target("postgres", "REELGRAPH_DB_URL"),
    # With routing, the server tells its clients where else to go.
    Target("neo4j", "REELGRAPH_GRAPH_URL", scheme="bolt"),
    Target("redis", "REELGRAPH_CACHE_URL"),
    Target("cassandra", "REELGRAPH_WIDE_URL", proxied=False),
    Target("kafka", "REELGRAPH_BUS_URL", proxied=False),
    Target("s3", "REELGRAPH_BLOBS_URL"),
    Target("triton", "REELGRAPH_MODELS_URL"),
    Target("mysql", "REELGRAPH_DB_URL", instead=True),
    Target("redis-cluster", "REELGRAPH_CACHE_URL", proxied=False, instead=True),
)


@dataclass(frozen=True, slots=True)
class Row:
    """What one fault did."""

    engine: str
    fault: str
    seen: Seen
    caught_up_s: float | None
    """Seconds from recovery until every count was what had been acknowledged; None: not within the limit."""
    grown_mib: int
    """Of all processes of the platform together, from before the fault to its end."""
    connects_per_s: float
    """New TCP connections of the whole machine during the fault."""
    wrong: Sequence[str]

    @property
    def problems(self) -> list[str]:
        """Where it falls short of what is promised."""
        seen, found = self.seen, []
        if seen.failed_reads:
            found.append(f"feed reads failed: {dict(seen.failed_reads)}")
        if dishonest := {k: n for k, n in seen.failed_writes.items() if k.rpartition(" ")[2] not in HONEST}:
            found.append(f"writes failed otherwise than UNAVAILABLE: {dishonest}")
        if seen.without_hint:
            found.append(f"refusals without a retry hint: {dict(seen.without_hint)}")
        if self.caught_up_s is None:
            found.append(f"not caught up within {RECOVERY_S:g} s: {list(self.wrong)[:3]}")
        return found


async def measure(target: Target, fault: str, begin: Act, end: Act, cluster: Cluster, load: Load) -> Row:
    """One fault under load."""
    resources = Resources([m.process.pid for m in cluster.members if m.process])
    async with load.running():
        await asyncio.sleep(CALM_S)
        before, connects = resources.rss_mib(), resources.connects()
        seen = load.watch()
        await begin()
        began = time.monotonic()
        await asyncio.sleep(FAULT_S)
        grown = resources.rss_mib() - before
        rate = (resources.connects() - connects) / (time.monotonic() - began)
        seen = replace(seen)
        await end()
        load.watch()
    recovered = time.monotonic()
    wrong = await caught_up(load, recovered + RECOVERY_S)
    took = None if wrong else round(time.monotonic() - recovered, 1)
    return Row(target.name, fault, seen, took, grown, round(rate, 1), wrong)


Act = Callable[[], Awaitable[None]]


async def caught_up(load: Load, until: float) -> list[str]:
    """What still differs from the book once everything open was tried again; empty as soon as nothing does."""
    wrong = ["something is still refused"]
    while wrong and time.monotonic() < until:
        pending, load.ledger.pending = load.ledger.pending, []
        for operation in pending:
            await load.ledger.attempt(operation, load.people)
        wrong = [f"{len(load.ledger.pending)} writes are still refused"] if load.ledger.pending else []
        if not wrong:
            try:
                wrong = await load.ledger.differences(load.people, load.videos)
            except Exception as error:
                wrong = [f"counts can't be read: {error}"]
        if wrong:
            await asyncio.sleep(0.3)
    return wrong


async def run(folder: Path, chosen: Sequence[Target]) -> list[Row]:
    """All faults of the chosen engines, one after the other, on one platform; on a second one those that stand in
    place of others."""
    rows = []
    for instead in (False, True):
        if targets := [target for target in chosen if target.instead == instead]:
            rows += await run_on(folder / f"platform-{int(instead)}", targets, instead=instead)
    return rows


async def run_on(folder: Path, chosen: Sequence[Target], *, instead: bool) -> list[Row]:
    """All faults of the chosen engines on one platform. `instead`: on MySQL and Redis Cluster."""
    dice, rows = random.Random(7), []
    async with AsyncExitStack() as stack:
        proxies = await stack.enter_async_context(Toxiproxy(os.environ["REELGRAPH_TEST_TOXIPROXY_URL"]))
        names = {"database": "mysql", "cache": "redis-cluster"} if instead else {}
        engines = dict(await stack.enter_async_context(fresh_engines(**names)))
        replaced = {t.setting for t in TARGETS if t.instead} if instead else set()
        there = [t for t in TARGETS if t.instead == instead or not (t.instead or t.setting in replaced)]
        for target in (t for t in there if t.proxied):
            listen = await proxies.add(target.name, EngineProcess(target.name).address())
            engines[target.setting] = through(engines[target.setting], listen, target.scheme)
        cluster = layout(folder / "cluster", engines, dict.fromkeys(ROLES, 1))
        await stack.enter_async_context(running(cluster))
        world = await stack.enter_async_context(open_world(cluster, folder))
        videos = [await _publish(world, seed) for seed in range(12)]
        people = await stack.enter_async_context(crowd([cluster.base], PEOPLE, dice))
        load = Load(people, videos, dice)
        for target in chosen:
            for fault, begin, end in faults(target, proxies):
                row = await measure(target, fault, begin, end, cluster, load)
                rows.append(row)
                print(line(row), *row.problems, sep="\n      ", flush=True)
                for member in cluster.members:
                    if not member.alive:
                        raise RuntimeError(f"{member.name} has ended\n{member.tail()}")
    return rows


def faults(target: Target, proxies: Toxiproxy) -> list[tuple[str, Act, Act]]:
    """Name, beginning and end of each fault of an engine."""
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


def line(row: Row) -> str:
    """A row of the table."""
    seen = row.seen
    failed = sum(seen.failed_reads.values())
    refused = ", ".join(f"{count} {name}" for name, count in _codes(seen).items()) or "none"
    caught = "not caught up" if row.caught_up_s is None else f"{row.caught_up_s:g} s"
    cells = (
        row.engine,
        row.fault,
        f"{seen.reads} ({seen.stale} stale, {failed} failed), p99 {seen.p99_read_ms:g} ms",
        f"{seen.writes}",
        refused,
        caught,
        f"{row.grown_mib:+} MiB",
        f"{row.connects_per_s:g}",
    )
    return f"| {' | '.join(cells)} |"


def _codes(seen: Seen) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, count in seen.failed_writes.items():
        code = name.rpartition(" ")[2]
        found[code] = found.get(code, 0) + count
    return found


def write_table(rows: Sequence[Row]) -> None:
    """Put rows into the table between its marks in `docs/reliability.md`; what else was measured stays."""
    text = TABLE.read_text()
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    lines = {key(row): row for row in old.splitlines() if key(row)[0] in {t.name for t in TARGETS}}
    lines |= {key(line(row)): line(row) for row in rows}
    names = [target.name for target in TARGETS]
    ordered = sorted(lines, key=lambda pair: (names.index(pair[0]), not pair[1].startswith("hangs")))
    head = (
        "| engine | fault, 30 s | feed pages answered | writes acknowledged | writes refused | counts right after "
        "recovery | memory | connects/s |\n|---|---|---|---|---|---|---|---|"
    )
    table = "\n".join([BEGIN, "", head, *(lines[pair] for pair in ordered), "", END])
    TABLE.write_text(before + table + after)


def key(row: str) -> tuple[str, str]:
    """Engine and fault of a row of the table; empty for a line that is none."""
    cells = [cell.strip() for cell in row.split("|")]
    return (cells[1], cells[2]) if len(cells) > 2 else ("", "")


def main() -> int:
    """Exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description="What people see while each engine fails.")
    parser.add_argument("engines", nargs="*", help=f"of: {' '.join(t.name for t in TARGETS)}; none: all")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    given = parser.parse_args()
    chosen = [target for target in TARGETS if not given.engines or target.name in given.engines]
    with tempfile.TemporaryDirectory(prefix="reelgraph-faults-") as folder:
        rows = asyncio.run(run(Path(folder), chosen))
    if given.write:
        write_table(rows)
    return 1 if any(row.problems for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
