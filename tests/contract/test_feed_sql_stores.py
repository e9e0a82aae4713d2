"""The contracts of feed_svc's smaller relational ports: fan-out jobs, activity, hashtags, served pages, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from feed_svc.fanout.store import FanoutJob, Post
from feed_svc.fanout.stores.sql import SqlActivityStore, SqlFanoutJobs
from feed_svc.feeds.snapshot import pack_entries
from feed_svc.feeds.store import ServedPage, VideoFacts
from feed_svc.feeds.stores.sql import SqlInteractionStore, SqlNotInterestedStore, SqlServedStore
from feed_svc.schema import metadata, outbox, replies
from feed_svc.search.store import HashtagRow, TaggedVideo
from feed_svc.search.stores.sql import SqlHashtagStore
from svc_kit.caller import Caller
from svc_kit.db import Database
from svc_kit.ids import IdGenerator
from svc_kit.liveness import new_holder
from svc_kit.uow import UnitOfWork
from tests.support.clock import FakeClock
from tests.support.databases import DATABASES, opened_database

LEASE_MS = 30_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=DATABASES)
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with opened_database(request.param, tmp_path, metadata) as db:
        yield db


def job(video_id: int, version: int = 1, *, withdraw: bool = False) -> FanoutJob:
    return FanoutJob(Post(video_id, 9, 1000), version, withdraw, 0)


async def test_a_job_is_worked_on_by_one_and_a_newer_version_starts_anew(db: Database, clock: FakeClock) -> None:
    jobs, me = SqlFanoutJobs(db, clock), new_holder()
    await jobs.put(job(1, 2))
    await jobs.put(job(1, 1, withdraw=True))
    held = await jobs.claim(me, LEASE_MS)
    assert held is not None and (held.version, held.withdraw) == (2, False)
    assert await jobs.claim(new_holder(), LEASE_MS) is None
    assert await jobs.advance(FanoutJob(held.post, 2, False, 500), me, LEASE_MS, done=False)
    await jobs.put(job(1, 3, withdraw=True))
    assert not await jobs.advance(held, me, LEASE_MS, done=True)
    again = await jobs.claim(me, LEASE_MS)
    assert again is not None and (again.version, again.withdraw, again.last_follower_id) == (3, True, 0)
    assert await jobs.advance(again, me, LEASE_MS, done=True)
    assert await jobs.claim(me, LEASE_MS) is None
    clock.advance(25 * 3600)
    assert await jobs.prune(10) == 1


async def test_of_many_who_claim_at_once_each_gets_a_job_of_its_own(db: Database, clock: FakeClock) -> None:
    jobs = SqlFanoutJobs(db, clock)
    for video_id in range(6):
        await jobs.put(job(video_id))
    holders = [new_holder() for _ in range(4)]
    found = [await jobs.claim(new_holder(), LEASE_MS)]
    found += await asyncio.gather(*(jobs.claim(holder, LEASE_MS) for holder in holders))
    # Whoever passed over rows that others were at comes again.
    while (more := await jobs.claim(new_holder(), LEASE_MS)) is not None:
        found.append(more)
    assert sorted(one.post.video_id for one in found if one is not None) == list(range(6))


async def test_pulled_authors_and_activity_are_remembered(db: Database, clock: FakeClock) -> None:
    jobs = SqlFanoutJobs(db, clock)
    activity = SqlActivityStore(UnitOfWork(db, outbox, replies, IdGenerator(clock), clock))
    await asyncio.gather(*(jobs.set_pulled(7) for _ in range(3)))
    assert await jobs.pulled_among([6, 7, 8]) == {7}
    for user_id, at in ((3, 10), (1, 20), (2, 30), (3, 40)):
        async with activity.begin(Caller(user_id=user_id)) as tx:
            await tx.touch(user_id, at)
    assert list(await activity.active(20, 0, 10)) == [1, 2, 3]
    assert list(await activity.active(30, 2, 10)) == [3]
    assert list(await activity.page(0, 2)) == [(1, 20), (2, 30)]
    assert list(await activity.page(2, 2)) == [(3, 40)]


async def test_hashtags_count_what_is_shown_and_come_in_the_order_of_code_points(
    db: Database, clock: FakeClock
) -> None:
    hashtags = SqlHashtagStore(db, clock)
    names = ("zoo", "äpfel", "apfel", "日本", "éclair", "eclair")
    await hashtags.apply([TaggedVideo(1, 1, True, 100, names), TaggedVideo(2, 1, True, 200, ("zoo",))])
    assert [row.name for row in await hashtags.page("", 10)] == sorted(names)
    assert [row.name for row in await hashtags.page("eclair", 2)] == ["zoo", "äpfel"]
    assert (await hashtags.get(["zoo", "apfel", "none"])).keys() == {"zoo", "apfel"}
    assert list(await hashtags.videos("zoo", 10)) == [(200, 2), (100, 1)]
    assert list(await hashtags.videos("zoo", 10, (200, 2))) == [(100, 1)]
    changed = await hashtags.apply([TaggedVideo(1, 2, True, 100, ("apfel",)), TaggedVideo(1, 1, True, 100, names)])
    assert {row.name: row.video_count for row in changed} == {**dict.fromkeys(names, 0), "zoo": 1, "apfel": 1}
    assert await hashtags.recount() == 0


async def test_hashtags_written_at_once_are_counted_right(db: Database, clock: FakeClock) -> None:
    hashtags = SqlHashtagStore(db, clock)
    videos = [TaggedVideo(n, 1, True, n, ("a", "b", f"own{n}")) for n in range(8)]
    await asyncio.gather(*(hashtags.apply([one]) for one in videos))
    assert await hashtags.recount() == 0
    assert {n: (await hashtags.get([n]))[n].video_count for n in ("a", "b", "own3")} == {"a": 8, "b": 8, "own3": 1}
    assert isinstance((await hashtags.get(["a"]))["a"], HashtagRow)


async def test_served_pages_are_kept_once_and_removed_by_age(db: Database) -> None:
    served = SqlServedStore(db)
    body = pack_entries([])
    pages = [ServedPage("u1", "abc", position, body, (), 100 + position) for position in (10, 0)]
    await served.add(pages)
    await served.add([ServedPage("u1", "abc", 0, body, (), 999), ServedPage("U1", "abc", 0, body, (), 100)])
    assert [(p.first_position, p.served_at_ms) for p in await served.of_snapshot("u1", "abc")] == [(0, 100), (10, 110)]
    assert await served.prune(105, 10) == 2
    assert [page.first_position for page in await served.of_snapshot("u1", "abc")] == [10]


async def test_a_video_is_refused_once_by_a_viewer_also_at_once(db: Database, clock: FakeClock) -> None:
    store = SqlNotInterestedStore(UnitOfWork(db, outbox, replies, IdGenerator(clock), clock))
    facts = VideoFacts(7, 9, ("cats",), True, 9000, 40, "en")

    async def refuse() -> bool:
        async with store.begin(Caller(user_id=1)) as tx:
            return await tx.refuse(1, facts, 50)

    answers = await asyncio.gather(*(refuse() for _ in range(4)), return_exceptions=True)
    assert answers.count(True) == 1
    assert not await refuse()
    actions = await SqlInteractionStore(db).actions(1)
    assert (actions.version, actions.refused) == (1, frozenset({7}))


async def test_what_some_viewers_like_comes_last_liked_first_each_video_once(db: Database) -> None:
    store = SqlInteractionStore(db)
    for viewer, video_id, at_ms in ((1, 7, 10), (2, 7, 40), (2, 8, 20), (3, 9, 30), (1, 5, 50)):
        await store.put_like(viewer, video_id, 100 + video_id, at_ms, 1)
    await store.put_like(1, 5, 105, 0, 2)
    assert await store.liked([1, 2], 10) == [(7, 107), (8, 108)]
    assert await store.liked([1, 2], 1) == [(7, 107)]
    assert await store.liked([4], 10) == []
