"""Watches into Cassandra and a page of a viewer's history through our store, against the driver alone.

    python -m bench.wide_rows [--watches 50000] [--rounds 5]

`REELGRAPH_TEST_CASSANDRA_URL` names the server; a keyspace `reelgraph_bench` is made there, and dropped in the end. The
driver alone (acsylla) runs the same statements in the same batches with as many in flight, and makes the same entries,
without our breaker, timeout and paging. A batch is acknowledged before the next one begins, as a consumer must. The
two take turns batch by batch, and a ratio is of medians. Everything is in this one process.

For a page our store reads its rows, a few rows more to know whether there is another page, and when their videos were
watched last; the cost of one bare SELECT of 50 rows is shown beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import acsylla
import uvloop

from bench.harness import percentile
from feed_svc.watches.store import HistoryEntry
from feed_svc.watches.stores import cassandra
from feed_svc.watches.stores.cassandra import CassandraWatchHistory
from feed_svc.watches.worker import BATCH
from svc_kit.cassandra.address import parse
from svc_kit.cassandra.buckets import Buckets
from svc_kit.cassandra.shared import lease
from svc_kit.clock import SystemClock, now_ms
from svc_kit.ids import EPOCH_MS, created_ms

VIEWERS = 500
OTHERS = 1_000_000
PAGE = 50
PAGES = 400
IN_FLIGHT = 64
KEEP_DAYS = 365
Watches = Sequence[tuple[int, HistoryEntry]]


def watches(count: int) -> Watches:
    """Of the last hours, by viewers in turn; videos of the last weeks, some watched twice."""
    now = now_ms(SystemClock())
    made = []
    for number in range(count):
        video_at = now - (number * 7919 % (20 * 24 * 3600)) * 1000 - EPOCH_MS
        made.append((1 + number % VIEWERS, HistoryEntry(video_at << 22 | number % 4096, now - number, 5000)))
    return made


class Bare:
    """The driver alone."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._months = Buckets(SystemClock(), cassandra.DAYS_A_PARTITION, KEEP_DAYS)

    async def prepare(self) -> None:
        names = ("_ADD", "_LAST", "_BELOW", "_LOOK")
        prepared = [await self._session.create_prepared(getattr(cassandra, name)) for name in names]
        self._add, self._last, self._below, self._look = prepared

    async def append(self, made: Watches) -> None:
        statements = self._statements(made)

        async def work() -> None:
            for statement in statements:
                await self._session.execute(statement)

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))

    def _statements(self, made: Watches) -> Iterator[Any]:
        of, ttl_s = self._months.of, self._months.ttl_s
        for viewer_id, watch in made:
            at_ms, video_id = watch.watched_at_ms, watch.video_id
            ttl = ttl_s(at_ms)
            yield self._last.bind((viewer_id, of(created_ms(video_id)), video_id, at_ms, ttl, at_ms * 1000))
            yield self._add.bind((viewer_id, of(at_ms), at_ms, video_id, watch.watched_ms, ttl))

    async def page(self, viewer_id: int) -> list[HistoryEntry]:
        values = (viewer_id, self._months.newest(), 2**63 - 1, 2**63 - 1)
        result = await self._session.execute(self._below.bind(values, page_size=PAGE))
        rows = [row.as_tuple() for row in result]
        state = result.page_state()
        result = await self._session.execute(self._below.bind(values, page_size=cassandra.LOOK_AHEAD, page_state=state))
        rows += [row.as_tuple() for row in result]
        by_month: dict[int, list[int]] = {}
        for _, video_id, _ in rows:
            by_month.setdefault(self._months.of(created_ms(video_id)), []).append(video_id)
        looks = [self._session.execute(self._look.bind((viewer_id, m, ids))) for m, ids in by_month.items()]
        last = dict(row.as_tuple() for found in await asyncio.gather(*looks) for row in found)
        entries = [HistoryEntry(i, at_ms, watched) for at_ms, i, watched in rows if at_ms >= last.get(i, 0)]
        return entries[:PAGE]

    async def rows(self, viewer_id: int) -> int:
        values = (viewer_id, self._months.newest(), 2**63 - 1, 2**63 - 1)
        return len(list(await self._session.execute(self._below.bind(values, page_size=PAGE))))


async def main(count: int, rounds: int) -> None:
    parts = urlsplit(os.environ["REELGRAPH_TEST_CASSANDRA_URL"])
    url = urlunsplit(parts._replace(path="/reelgraph_bench", query="replication=1&timeout_ms=10000"))
    print(await cassandra.migrate(url))
    leased, address = await lease(url), parse(url)
    ours = await cassandra.open(url, clock=SystemClock(), keep_days=KEEP_DAYS)
    cluster = acsylla.create_cluster(
        list(address.hosts),
        port=address.port,
        username=address.username,
        password=address.password,
        consistency="local_quorum",
    )
    session = await cluster.create_session(keyspace=address.keyspace)
    bare = Bare(session)
    await bare.prepare()
    made = watches(count)
    await writing(ours, bare, made, rounds)
    await reading(ours, bare, rounds)
    await leased.rows.define(f"DROP KEYSPACE {address.keyspace}")
    await session.close()
    await ours.close()
    await leased.close()


async def writing(ours: CassandraWatchHistory, bare: Bare, made: Watches, rounds: int) -> None:
    """Batch by batch in turn, each for viewers of its own: a pause of the server meets both alike."""
    theirs = [(OTHERS + viewer_id, watch) for viewer_id, watch in made]
    spent: dict[str, list[tuple[float, float]]] = {"store": [], "driver": []}
    sides = [("store", ours.append, made), ("driver", bare.append, theirs)]
    for number, start in enumerate(list(range(0, len(made), BATCH)) * rounds):
        for name, append, rows in sides if number % 2 else reversed(sides):
            began, cpu = time.perf_counter(), time.process_time()
            await append(rows[start : start + BATCH])
            spent[name].append((time.perf_counter() - began, time.process_time() - cpu))
    print(f"{len(made)} watches ({2 * len(made)} rows), batches of {BATCH} events, {rounds} rounds")
    driver = [statistics.median(column) for column in zip(*spent["driver"], strict=True)]
    for name, what in (("driver", "driver alone"), ("store", "our store")):
        took, cpu = (statistics.median(column) for column in zip(*spent[name], strict=True))
        whole = sum(seconds for seconds, _ in spent[name]) / rounds
        rate = f"{BATCH / took:8.0f} watches/s  {cpu * 1e6 / BATCH:5.0f} us CPU each"
        print(f"  {what:<13} {whole:6.2f} s  {rate}   {took / driver[0]:.2f}x, CPU {cpu / driver[1]:.2f}x")


async def reading(ours: CassandraWatchHistory, bare: Bare, rounds: int) -> None:
    async def page(viewer_id: int) -> list[HistoryEntry]:
        found = await ours.page(viewer_id, PAGE)
        assert found.more
        return list(found.entries)

    assert await page(1) == await bare.page(1)
    spent: dict[str, list[float]] = {"select": [], "driver": [], "store": []}
    cpu = dict.fromkeys(spent, 0.0)
    reads: dict[str, Callable[[int], Awaitable[Any]]] = {"select": bare.rows, "driver": bare.page, "store": page}
    viewers = itertools.cycle(range(1, VIEWERS + 1))
    for _ in range(rounds * PAGES // 10):
        for name, read in reads.items():
            used = time.process_time()
            for viewer_id in itertools.islice(viewers, 10):
                began = time.perf_counter()
                await read(viewer_id)
                spent[name].append(time.perf_counter() - began)
            cpu[name] += time.process_time() - used
    print(f"a page of {PAGE}, one after another, {len(spent['store'])} each")
    driver = percentile(spent["driver"], 0.5)
    for name, what in (("select", "one SELECT"), ("driver", "driver alone"), ("store", "our store")):
        half, most = percentile(spent[name], 0.5), percentile(spent[name], 0.99)
        shown = (
            f"p50 {half * 1000:5.2f} ms  p99 {most * 1000:6.2f} ms  {cpu[name] * 1e6 / len(spent[name]):5.0f} us CPU"
        )
        print(f"  {what:<13} {shown}   {half / driver:.2f}x, CPU {cpu[name] / cpu['driver']:.2f}x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watches", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    uvloop.run(main(given.watches, given.rounds))
