"""New videos on their way to followers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from feed_svc.fanout.commands import FanoutCommands, FanoutRebuilds
from feed_svc.fanout.queries import digest_of
from feed_svc.fanout.store import Inbox, Post
from feed_svc.fanout.stores.redis import RedisInboxStore
from feed_svc.fanout.stores.sql import SqlActivityStore, SqlFanoutJobs
from feed_svc.fanout.worker import FanoutEvents, FanoutRunner
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.video_pb2 import VideoDeleted, VideoFacts, VideoPublished, VideoUpdated
from svc_kit.bus.runner import Envelope
from svc_kit.clock import now_ms
from svc_kit.errors import AppError
from tests.support.feed_fakes import Bench, fast_settings, feed_bench, timeline_entry

AUTHOR, FAN, OTHER = 100, 1, 2


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with feed_bench(tmp_path, fast_settings(follower_page=3, pull_above_followers=50)) as made:
        made.world.follow(FAN, AUTHOR)
        yield made


def inboxes(bench: Bench) -> RedisInboxStore:
    return RedisInboxStore(bench.platform.cache, bench.platform.clock, ttl_s=86400, entries=500)


async def inbox(bench: Bench, user_id: int) -> Inbox | None:
    return await inboxes(bench).read(user_id, digest_of(bench.world.relations_of[user_id].followees))


async def newest(bench: Bench, user_id: int, limit: int = 10) -> list[int]:
    followees = bench.world.relations_of[user_id].followees
    return [post.video_id for post in await bench.fanout.followed.newest(user_id, followees, limit)]


def event(version: int, visibility: str = "PUBLIC", *, updated: bool = False) -> Envelope:
    facts = VideoFacts(video_id=5, author_id=AUTHOR, visibility=visibility, published_at_ms=1000, hashtags=["cats"])
    body = {"video_updated": VideoUpdated(video=facts)} if updated else {"video_published": VideoPublished(video=facts)}
    return Envelope(Event(id=version, entity="video:5", entity_version=version, **body), "video", 0, version)


async def test_a_new_video_is_pushed_to_followers_with_an_inbox_and_to_nobody_else(bench: Bench) -> None:
    bench.world.follow(OTHER, AUTHOR)
    assert await newest(bench, FAN) == []
    await bench.publish(bench.world.add(5, AUTHOR, "cats"))
    pushed = await inbox(bench, FAN)
    assert pushed is not None
    assert [(post.video_id, post.author_id) for post in pushed.posts] == [(5, AUTHOR)]
    assert await inbox(bench, OTHER) is None
    assert await newest(bench, OTHER) == [5]


async def test_a_lost_inbox_is_filled_again_by_pull(bench: Bench) -> None:
    await bench.publish(bench.world.add(5, AUTHOR, "cats"))
    assert await newest(bench, FAN) == [5]
    await bench.platform.cache.flushall()
    await bench.publish(bench.world.add(6, AUTHOR, "cats", age_h=0))
    assert await newest(bench, FAN) == [6, 5]


async def test_a_killed_fan_out_goes_on_with_the_followers_that_are_left(bench: Bench) -> None:
    for follower in range(10, 20):
        bench.world.follow(follower, AUTHOR)
        await newest(bench, follower)
    video = bench.world.videos[bench.world.add(5, AUTHOR, "cats")]
    await bench.fanout.commands.publish(timeline_entry(video))
    jobs = SqlFanoutJobs(bench.context.db, bench.world.clock)
    bench.world.down.add("graph")
    with pytest.raises(AppError):
        await bench.fanout.commands.run_next("killed")
    bench.world.down.clear()
    assert await jobs.claim("me", 1000) is None
    bench.world.clock.advance(61)
    assert await bench.fanout.commands.run_next("me")
    for follower in range(10, 20):
        found = await inbox(bench, follower)
        assert found is not None
        assert len(found.posts) == 1
    assert not await bench.fanout.commands.run_next("me")


async def test_of_a_killed_fan_out_at_most_one_window_is_done_again(bench: Bench) -> None:
    fans = [FAN, *range(10, 21)]
    for follower in fans:
        bench.world.follow(follower, AUTHOR)
        await newest(bench, follower)
    pushed: list[int] = []

    class Killed(RedisInboxStore):
        async def push(self, post: Post, user_ids: Sequence[int]) -> int:
            if len(pushed) == 5:
                raise asyncio.CancelledError
            pushed.extend(user_ids)
            return await super().push(post, user_ids)

    settings = fast_settings(fanout_window=5, follower_page=3)
    store = Killed(bench.platform.cache, bench.world.clock, ttl_s=86400, entries=500)
    jobs = SqlFanoutJobs(bench.context.db, bench.world.clock)
    commands = FanoutCommands(
        bench.fanout.timelines, store, jobs, bench.world, settings, bench.world.clock, queued=lambda: None
    )
    await FanoutEvents(commands).handle([event(1)])
    with pytest.raises(asyncio.CancelledError):
        await commands.run_next("killed")
    assert pushed == fans[:5]
    pushed.append(0)
    bench.world.clock.advance(61)
    assert await commands.run_next("me")
    assert pushed == [*fans[:5], 0, *fans[5:]]
    for follower in fans:
        found = await inbox(bench, follower)
        assert found is not None
        assert [post.video_id for post in found.posts] == [5]


async def test_followers_are_read_in_pages_so_memory_is_bounded(bench: Bench) -> None:
    for follower in range(10, 20):
        bench.world.follow(follower, AUTHOR)
    bench.calls.clear()
    await bench.publish(bench.world.add(5, AUTHOR, "cats"))
    assert bench.calls["graph"] == 1 + 4


async def test_a_creator_over_the_limit_is_pulled(bench: Bench) -> None:
    for follower in range(1000, 1060):
        bench.world.follow(follower, AUTHOR)
    await newest(bench, FAN)
    bench.calls.clear()
    await bench.publish(bench.world.add(5, AUTHOR, "cats"))
    assert bench.calls["graph"] == 1
    found = await inbox(bench, FAN)
    assert found is not None
    assert found.posts == ()
    assert await newest(bench, FAN) == [5]


async def test_a_viewer_who_follows_too_many_has_no_inbox_and_pulls(tmp_path: Path) -> None:
    async with feed_bench(tmp_path, fast_settings(pull_above_followees=2)) as bench:
        for author in (100, 101, 102):
            bench.world.follow(FAN, author)
        await bench.publish(bench.world.add(5, 101, "cats"))
        assert await newest(bench, FAN) == [5]
        assert await inbox(bench, FAN) is None


async def test_events_are_applied_by_version_in_whatever_order_they_come(bench: Bench) -> None:
    handler = FanoutEvents(bench.fanout.commands)
    deleted = Event(entity="video:5", entity_version=3, video_deleted=VideoDeleted(video_id=5, author_id=AUTHOR))
    gone = Envelope(deleted, "video", 0, 3)
    for batch in ([event(1)], [gone, event(1), event(2, updated=True)]):
        await handler.handle(batch)
    while await bench.fanout.commands.run_next("me"):
        pass
    assert await newest(bench, FAN) == []
    assert await bench.fanout.timelines.get([5]) == []


async def test_a_video_made_private_leaves_the_inboxes(bench: Bench) -> None:
    handler = FanoutEvents(bench.fanout.commands)
    await newest(bench, FAN)
    await handler.handle([event(1)])
    await bench.publish()
    assert await newest(bench, FAN) == [5]
    await handler.handle([event(2, "PRIVATE", updated=True)])
    while await bench.fanout.commands.run_next("me"):
        pass
    found = await inbox(bench, FAN)
    assert found is not None
    assert found.posts == ()
    assert await newest(bench, FAN) == []


async def test_rebuilding_makes_the_same_timelines_and_inboxes_and_forgets_what_is_gone(bench: Bench) -> None:
    world = bench.world
    for video_id in (5, 6, 7):
        world.add(video_id, AUTHOR, "cats", age_h=video_id)
    await bench.publish()
    await newest(bench, FAN)
    await bench.fanout.activity.note_all([FAN])
    before = [await bench.fanout.timelines.newest([AUTHOR], 10), await inbox(bench, FAN)]
    activity = SqlActivityStore(bench.context.uow)
    rebuilds = FanoutRebuilds(
        bench.fanout.timelines,
        bench.fanout.followed,
        activity,
        world,
        world,
        bench.context.settings,
        world.clock,
    )
    world.clock.advance(1)
    assert (await rebuilds.author_timelines(), await rebuilds.inboxes()) == (3, 1)
    assert [await bench.fanout.timelines.newest([AUTHOR], 10), await inbox(bench, FAN)] == before
    async with bench.context.db.write() as connection:
        await connection.exec_driver_sql("DELETE FROM author_timelines")
    await bench.platform.cache.flushall()
    del world.videos[7]
    await rebuilds.author_timelines()
    await rebuilds.inboxes()
    found = await inbox(bench, FAN)
    assert found is not None
    assert [post.video_id for post in found.posts] == [5, 6]


async def test_a_push_between_the_pull_and_the_filling_is_not_lost(bench: Bench) -> None:
    store = inboxes(bench)
    token = await store.begin_fill(FAN)
    assert await store.read(FAN, digest_of({AUTHOR})) is None
    pull, push = Post(5, AUTHOR, 10), Post(6, AUTHOR, 20)
    assert await store.push(push, [FAN, OTHER]) == 1
    assert await store.fill(FAN, token, digest_of({AUTHOR}), [pull])
    found = await store.read(FAN, digest_of({AUTHOR}))
    assert found is not None
    assert found.posts == (push, pull)


async def test_activity_is_written_at_most_once_in_six_hours(bench: Bench) -> None:
    store = SqlActivityStore(bench.context.uow)
    start = now_ms(bench.world.clock)
    await bench.fanout.activity.note_all([FAN, FAN])
    bench.world.clock.advance(3600)
    await bench.fanout.activity.note_all([FAN])
    assert await store.active(start + 1, 0, 10) == []
    bench.world.clock.advance(6 * 3600)
    await bench.fanout.activity.note_all([FAN])
    assert await store.active(start + 1, 0, 10) == [FAN]


async def test_the_runner_fans_out_soon_after_an_event(bench: Bench) -> None:
    await newest(bench, FAN)
    done = asyncio.Event()

    class Watched(RedisInboxStore):
        async def push(self, post: Post, user_ids: Sequence[int]) -> int:
            reached = await super().push(post, user_ids)
            done.set()
            return reached

    jobs = SqlFanoutJobs(bench.context.db, bench.world.clock)
    runner = FanoutRunner(bench.world.clock, concurrency=2)
    store = Watched(bench.platform.cache, bench.platform.clock, ttl_s=86400, entries=500)
    settings = bench.context.settings
    commands = FanoutCommands(
        bench.fanout.timelines, store, jobs, bench.world, settings, bench.world.clock, queued=runner.wake
    )
    running = asyncio.create_task(runner.run(commands))
    await FanoutEvents(commands).handle([event(1)])
    async with asyncio.timeout(10):
        await done.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await newest(bench, FAN) == [5]
