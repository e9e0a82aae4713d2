"""What only the SQLite bus promises: one file for several processes, fixed partitions, retention, URLs."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from svc_kit.bus.port import TOPICS, Fenced, Record
from svc_kit.bus.schemes import open_bus
from svc_kit.bus.sqlite import MEMBER_TTL_MS, SqliteBus
from svc_kit.clock import SystemClock
from svc_kit.errors import AppError, Reason
from tests.support.clock import FakeClock, ticking

ROOT = Path(__file__).parents[3]
HOLDER = """
import asyncio, sys
from svc_kit.bus.schemes import open_bus
from svc_kit.clock import SystemClock

async def main():
    bus = await open_bus(sys.argv[1], SystemClock())
    async with bus.consumer("g", ["account"]) as consumer:
        print(len(await consumer.poll(100, 10.0)), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def make(event_id: int, key: int = 1) -> Record:
    return Record("account", key, event_id, f"account:{key}", b"payload")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "bus.db"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def opened(stack: AsyncExitStack, path: Path, clock: FakeClock) -> SqliteBus:
    bus = await SqliteBus.open(path, clock)
    stack.push_async_callback(bus.close)
    return bus


async def test_records_of_another_process_wake_a_consumer(stack: AsyncExitStack, path: Path, clock: FakeClock) -> None:
    here, there = await opened(stack, path, clock), await opened(stack, path, clock)
    async with here.consumer("g", ["account"]) as consumer, ticking(clock):
        waiting = asyncio.create_task(consumer.poll(10, 3600.0))
        await there.publish([make(1)])
        assert len(await asyncio.wait_for(waiting, 20)) == 1


async def test_members_in_two_processes_share_partitions(stack: AsyncExitStack, path: Path, clock: FakeClock) -> None:
    here, there = await opened(stack, path, clock), await opened(stack, path, clock)
    await here.publish([make(i, key=i) for i in range(1, 41)])
    async with ticking(clock), here.consumer("g", ["account"]) as one, there.consumer("g", ["account"]) as two:
        found: dict[int, list[int]] = {1: [], 2: []}
        async with asyncio.timeout(20):
            while not (found[1] and found[2]) or set(found[1]) | set(found[2]) < set(range(1, 41)):
                for number, consumer in ((1, one), (2, two)):
                    batch = await consumer.poll(3, 0.5)
                    try:
                        await consumer.commit(batch)
                    except Fenced:
                        continue
                    found[number] += [d.record.event_id for d in batch]
    assert sorted(found[1] + found[2]) == list(range(1, 41))


async def test_a_silent_member_loses_its_partitions_and_cannot_commit(
    stack: AsyncExitStack, path: Path, clock: FakeClock
) -> None:
    """As a process does that was paused for longer than it may be silent."""
    paused_clock = FakeClock()
    paused, alive = await opened(stack, path, paused_clock), await opened(stack, path, clock)
    await alive.publish([make(i, key=i) for i in range(1, 11)])
    async with paused.consumer("g", ["account"]) as sleeper, alive.consumer("g", ["account"]) as other:
        before = await sleeper.poll(100, 0)
        found = {d.record.event_id for d in await other.poll(100, 0)}
        assert before and len(before) + len(found) == 10
        clock.advance(MEMBER_TTL_MS / 1000 + 1)
        async with ticking(clock), asyncio.timeout(20):
            while len(found) < 10:
                found |= {d.record.event_id for d in await other.poll(100, 1.0)}
        with pytest.raises(Fenced):
            await sleeper.commit(before)
        paused_clock.advance(clock.monotonic())
        async with ticking(clock), ticking(paused_clock), asyncio.timeout(20):
            event_id = 100
            back: list[int] = []
            while not back:
                await other.poll(100, 0.5)
                await alive.publish([make(event_id, key=event_id)])
                back = [d.record.event_id for d in await sleeper.poll(100, 0.5)]
                event_id += 1
        assert back


async def test_partitions_of_a_killed_process_are_taken_over_without_waiting_for_its_lease(
    stack: AsyncExitStack, path: Path, clock: FakeClock
) -> None:
    bus = await opened(stack, path, clock)
    await bus.publish([make(i) for i in range(1, 6)])
    command = (sys.executable, "-c", HOLDER, f"sqlite:///{path}")
    child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    assert await child.stdout.readline() == b"5\n"
    child.kill()
    await child.wait()
    async with bus.consumer("g", ["account"]) as consumer:
        assert len(await consumer.poll(100, 0)) == 5


async def test_an_event_published_again_is_dropped(stack: AsyncExitStack, path: Path, clock: FakeClock) -> None:
    bus = await opened(stack, path, clock)
    await bus.publish([make(1), make(2), make(1)])
    await bus.publish([make(2)])
    assert await bus.lag("g", ["account"]) == 2


async def test_the_number_of_partitions_is_fixed_by_the_first_opening(path: Path) -> None:
    clock = SystemClock()
    bus = await open_bus(f"sqlite:///{path}?partitions=3", clock)
    await bus.close()
    bus = await open_bus(f"sqlite:///{path}", clock)
    assert bus.partitions == 3
    await bus.close()
    with pytest.raises(ValueError, match="partitions=4"):
        await open_bus(f"sqlite:///{path}?partitions=4", clock)


@pytest.mark.parametrize("query", ["?synchronous=off", "?colour=red"])
async def test_wrong_options_are_refused(path: Path, query: str) -> None:
    with pytest.raises(ValueError, match=query[1:4]):
        await open_bus(f"sqlite:///{path}{query}", SystemClock())


async def test_retention_removes_only_what_every_group_has_committed(path: Path, clock: FakeClock) -> None:
    bus = await SqliteBus.open(path, clock, retention_hours=1)
    await bus.publish([make(i) for i in range(1, 7)])
    async with bus.consumer("fast", ["account"]) as fast, bus.consumer("slow", ["account"]) as slow:
        await fast.commit(await fast.poll(100, 0))
        await slow.commit(await slow.poll(2, 0))
        clock.advance(3601)
        await bus.publish([make(7)])
        async with ticking(clock, 5.0), asyncio.timeout(20):
            while await bus.lag("new", ["account"]) > 5:
                await SystemClock().sleep(0.01)
        await slow.seek({("account", p): 0 for p in range(bus.partitions)})
        assert [d.record.event_id for d in await slow.poll(100, 0)] == [3, 4, 5, 6, 7]
    await bus.close()


async def test_a_replay_by_a_process_that_reads_nothing_reaches_the_group(
    stack: AsyncExitStack, path: Path, clock: FakeClock
) -> None:
    bus = await opened(stack, path, clock)
    await bus.publish([make(i) for i in range(1, 4)])
    async with bus.consumer("g", ["account"]) as consumer:
        await consumer.commit(await consumer.poll(100, 0))
        async with bus.consumer("g", TOPICS) as tool:
            await tool.seek(dict.fromkeys(await bus.ends(TOPICS), 0))
        assert len(await consumer.poll(100, 0)) == 3


async def test_a_full_disk_is_unavailable_and_leaves_nothing_half_written(
    stack: AsyncExitStack, path: Path, clock: FakeClock
) -> None:
    bus = await opened(stack, path, clock)
    await bus.publish([make(1)])

    def limit(db: sqlite3.Connection, spare: int) -> None:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count={pages + spare}")

    await bus.threads.write(lambda db: limit(db, 3))
    big = [Record("account", 1, i, "account:1", b"x" * 100_000) for i in range(2, 5)]
    with pytest.raises(AppError) as full:
        await bus.publish([make(9), *big])
    assert full.value.reason is Reason.UNAVAILABLE
    await bus.threads.write(lambda db: limit(db, 10_000))
    assert await bus.lag("g", ["account"]) == 1
    await bus.publish(big)
    assert await bus.lag("g", ["account"]) == 4


async def test_writers_that_wait_together_share_a_transaction_and_fail_apart(
    stack: AsyncExitStack, path: Path, clock: FakeClock
) -> None:
    bus = await opened(stack, path, clock)

    def refuse(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO meta VALUES ('half', 1)")
        raise LookupError("refused")

    results = await asyncio.gather(
        *(bus.publish([make(i)]) for i in range(1, 20)), bus.threads.write(refuse), return_exceptions=True
    )
    assert [type(r) for r in results if r is not None] == [LookupError]
    assert await bus.lag("g", ["account"]) == 19
    assert await bus.threads.read(lambda db: db.execute("SELECT count(*) FROM meta").fetchone()[0]) == 1
