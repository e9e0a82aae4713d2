"""What every adapter of the job queue does, and what the runner makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from media_svc.jobs.runner import MAX_OUTAGE_PAUSE_S, OUTAGE_BUDGET_S, JobPolicy, JobRunner, Retry, Stale
from media_svc.jobs.store import TRANSCODE, VERIFY, Job
from media_svc.jobs.stores.sql import SqlJobQueue
from media_svc.schema import metadata, outbox, replies
from media_svc.transactions import MediaTransactions
from svc_kit.caller import Caller
from svc_kit.ending import cancel_all
from svc_kit.errors import unavailable
from svc_kit.ids import IdGenerator
from svc_kit.s3.bucket import S3Refused
from svc_kit.uow import UnitOfWork
from tests.support.clock import FakeClock
from tests.support.databases import DATABASES, opened_database

LEASE_S = 30.0


class World:
    """A queue, transactions that fill it, and the clock of both."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock) -> None:
        self.clock = clock
        self.queue = SqlJobQueue(uow)
        self.transactions = MediaTransactions(uow)

    async def add(self, *subjects: int, kind: str = TRANSCODE) -> None:
        async with self.transactions.begin(Caller()) as tx:
            for subject in subjects:
                await tx.enqueue_job(kind, subject)

    async def drop(self, subject: int) -> None:
        async with self.transactions.begin(Caller()) as tx:
            await tx.remove_job(TRANSCODE, subject)

    async def holds(self, job: Job) -> bool:
        async with self.transactions.begin(Caller()) as tx:
            return await tx.holds_job(job)

    async def claim(self, limit: int = 10, holder: str = "me") -> list[Job]:
        return list(await self.queue.claim(TRANSCODE, holder, limit, LEASE_S))


@pytest.fixture(params=DATABASES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    clock = FakeClock()
    async with opened_database(request.param, tmp_path, metadata) as db:
        yield World(UnitOfWork(db, outbox, replies, IdGenerator(clock), clock), clock)


async def test_a_job_is_claimed_once_until_its_lease_ends(world: World) -> None:
    await world.add(1)
    (job,) = await world.claim()
    assert (job.kind, job.subject_id, job.attempt) == (TRANSCODE, 1, 1)
    assert await world.claim(holder="other") == []
    world.clock.advance(LEASE_S + 1)
    (again,) = await world.claim(holder="other")
    assert again.attempt == 2
    assert not await world.holds(job) and await world.holds(again)
    assert not await world.queue.extend(job, LEASE_S) and await world.queue.extend(again, LEASE_S)


async def test_a_heartbeat_keeps_the_lease(world: World) -> None:
    await world.add(1)
    (job,) = await world.claim()
    for _ in range(5):
        world.clock.advance(LEASE_S / 2)
        assert await world.queue.extend(job, LEASE_S)
    assert await world.claim(holder="other") == []


async def test_a_job_of_a_process_that_is_gone_is_claimed_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_svc.jobs.stores.sql.is_gone", lambda holder: holder == "dead")
    await world.add(1)
    (job,) = await world.claim(holder="dead")
    (again,) = await world.claim()
    assert again.attempt == 2 and not await world.holds(job)


async def test_kinds_and_order_and_the_number_asked_for_are_kept(world: World) -> None:
    await world.add(9, kind=VERIFY)
    for subject in (3, 1, 2):
        await world.add(subject)
        world.clock.advance(1)
    assert [job.subject_id for job in await world.claim(2)] == [3, 1]
    assert [job.subject_id for job in await world.claim(2)] == [2]
    assert await world.queue.count(VERIFY) == 1


async def test_a_job_that_is_there_is_not_added_again(world: World) -> None:
    await world.add(1)
    (job,) = await world.claim()
    await world.add(1, 1)
    assert await world.queue.count(TRANSCODE) == 1 and await world.claim() == []
    await world.queue.finish(job)
    await world.add(1)
    assert len(await world.claim()) == 1


async def test_only_the_holder_gives_back_and_finishes(world: World) -> None:
    await world.add(1)
    (old,) = await world.claim()
    world.clock.advance(LEASE_S + 1)
    (new,) = await world.claim()
    await world.queue.finish(old)
    await world.queue.retry(old, 0, "late")
    await world.queue.release(old)
    assert await world.holds(new)
    await world.queue.retry(new, 10, "failed")
    assert await world.claim() == []
    world.clock.advance(11)
    (third,) = await world.claim()
    await world.queue.release(third)
    (fourth,) = await world.claim()
    assert fourth.attempt == third.attempt == 3


async def test_a_dropped_job_is_held_by_nobody(world: World) -> None:
    await world.add(1)
    (job,) = await world.claim()
    await world.drop(1)
    assert not await world.holds(job) and not await world.queue.extend(job, LEASE_S)


class Bench:
    """A runner whose work a test decides."""

    def __init__(
        self, world: World, work: Callable[[Job], Awaitable[None]], concurrency: int = 2, backoff_s: float = 4
    ) -> None:
        self.given_up: list[tuple[int, str]] = []
        policy = JobPolicy(concurrency, LEASE_S, attempts=3, backoff_s=backoff_s, poll_s=1)
        self.runner = JobRunner(TRANSCODE, world.queue, work, self._give_up, policy, world.clock, "me")

    async def _give_up(self, job: Job, reason: str) -> None:
        self.given_up.append((job.subject_id, reason))


async def _settled() -> None:
    for _ in range(200):
        await asyncio.sleep(0.001)


async def _settled_soon() -> None:
    for _ in range(20):
        await asyncio.sleep(0.001)


async def test_a_failing_job_is_tried_again_with_growing_pauses_and_then_given_up(world: World) -> None:
    tried: list[int] = []

    async def work(job: Job) -> None:
        tried.append(job.attempt)
        raise Retry("no luck")

    bench = Bench(world, work)
    await world.add(1)
    for pause in (4, 8):
        assert await bench.runner.run_due() == 1
        world.clock.advance(pause - 1)
        assert await bench.runner.run_due() == 0
        world.clock.advance(1)
    assert await bench.runner.run_due() == 1
    assert (tried, bench.given_up) == ([1, 2, 3], [(1, "no luck")])
    assert await world.queue.count(TRANSCODE) == 0


async def test_an_outage_is_no_attempt_and_other_jobs_wait_until_it_is_over(world: World) -> None:
    away, tried = True, []

    async def work(job: Job) -> None:
        tried.append((job.subject_id, job.attempt))
        if away:
            raise unavailable("The object store can't be reached.")

    bench = Bench(world, work, concurrency=1)
    await world.add(1)
    world.clock.advance(0.001)
    await world.add(2)
    task = asyncio.create_task(bench.runner.run())
    for _ in range(100):
        await _settled_soon()
        world.clock.advance(1)
    assert 4 <= len(tried) <= 15, "a job is tried now and then, and no other all the time"
    assert {subject for subject, _ in tried} == {1, 2} and {attempt for _, attempt in tried} == {1}
    assert bench.given_up == []
    away = False
    for _ in range(20):
        await _settled_soon()
        world.clock.advance(1)
    assert await world.queue.count(TRANSCODE) == 0 and bench.given_up == []
    await cancel_all([task])


async def test_an_outage_of_hours_loses_no_job(world: World) -> None:
    outages, away = 1_100, True

    async def work(job: Job) -> None:
        if away:
            raise unavailable("The object store can't be reached.")

    bench = Bench(world, work, backoff_s=2.0)
    await world.add(1)
    for _ in range(outages):
        assert await bench.runner.run_due() == 1
        world.clock.advance(MAX_OUTAGE_PAUSE_S)
    (job,) = await world.claim()
    assert (job.attempt, bench.given_up) == (1, [])
    await world.queue.release(job)
    away = False
    assert await bench.runner.run_due() == 1
    assert await world.queue.count(TRANSCODE) == 0 and bench.given_up == []


async def test_what_the_store_refuses_is_an_attempt_and_other_jobs_go_on(world: World) -> None:
    done: list[tuple[int, int]] = []

    async def work(job: Job) -> None:
        if job.subject_id == 1:
            raise S3Refused("AccessDenied", 403)
        done.append((job.subject_id, len(bench.given_up)))

    bench = Bench(world, work, concurrency=1)
    await world.add(1)
    world.clock.advance(0.001)
    await world.add(2, 3)
    task = asyncio.create_task(bench.runner.run())
    for _ in range(30):
        await _settled_soon()
        world.clock.advance(1)
    await cancel_all([task])
    assert sorted(done) == [(2, 0), (3, 0)], "the others are done before the refused one is given up"
    assert bench.given_up == [(1, "The object store can't be used.")]


async def test_an_outage_without_an_end_is_given_up_like_any_failure(world: World) -> None:
    async def work(job: Job) -> None:
        raise unavailable("The object store can't be reached.")

    bench = Bench(world, work)
    await world.add(1)
    world.clock.advance(OUTAGE_BUDGET_S)
    for _ in range(3):
        assert await bench.runner.run_due() == 1
        world.clock.advance(10)
    assert bench.given_up == [(1, "The object store can't be reached.")]


async def test_a_job_that_kills_its_process_again_and_again_is_given_up(world: World) -> None:
    async def work(job: Job) -> None:
        raise AssertionError("not to be tried again")

    bench = Bench(world, work)
    await world.add(1)
    for _ in range(3):
        await world.claim(holder="killed")
        world.clock.advance(LEASE_S + 1)
    await bench.runner.run_due()
    assert bench.given_up == [(1, "It was interrupted too often.")]


async def test_a_defect_is_retried_and_does_not_stop_the_runner(world: World) -> None:
    async def work(job: Job) -> None:
        raise ZeroDivisionError

    bench = Bench(world, work)
    await world.add(1)
    await bench.runner.run_due()
    assert await world.queue.count(TRANSCODE) == 1 and bench.given_up == []


async def test_no_more_jobs_run_at_a_time_than_allowed(world: World) -> None:
    running, most, gate = 0, 0, asyncio.Event()

    async def work(job: Job) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    bench = Bench(world, work, concurrency=2)
    await world.add(1, 2, 3, 4, 5)
    task = asyncio.create_task(bench.runner.run())
    await _settled()
    assert (running, most) == (2, 2)
    gate.set()
    for _ in range(20):
        await _settled()
        world.clock.advance(1)
    assert await world.queue.count(TRANSCODE) == 0
    await cancel_all([task])
    assert most == 2


async def test_work_stops_when_its_job_is_dropped_and_its_lease_is_kept_while_it_runs(world: World) -> None:
    ended: list[str] = []

    async def work(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("stopped")

    bench = Bench(world, work)
    await world.add(1)
    task = asyncio.create_task(bench.runner.run())
    await _settled()
    for _ in range(6):
        world.clock.advance(LEASE_S / 2)
        await _settled()
    assert await world.claim(holder="other") == [] and ended == []
    await world.drop(1)
    world.clock.advance(LEASE_S / 2)
    await _settled()
    assert ended == ["stopped"] and not task.done() and bench.given_up == []
    await cancel_all([task])


async def test_a_stopped_runner_gives_its_jobs_back_at_once(world: World) -> None:
    async def work(job: Job) -> None:
        await asyncio.Event().wait()

    bench = Bench(world, work)
    await world.add(1)
    task = asyncio.create_task(bench.runner.run())
    await _settled()
    await cancel_all([task])
    (job,) = await world.claim(holder="next")
    assert job.attempt == 1


async def test_stale_work_leaves_everything_as_it_is(world: World) -> None:
    async def work(job: Job) -> None:
        raise Stale

    bench = Bench(world, work)
    await world.add(1)
    await bench.runner.run_due()
    assert bench.given_up == [] and await world.queue.count(TRANSCODE) == 1
