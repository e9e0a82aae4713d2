"""Who is pushed to, for how long an inbox is trusted, and how the follow graph hears of activity."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from feed_svc.fanout.commands import PAGES_A_WINDOW, FanoutCommands
from feed_svc.fanout.store import FanoutJob, Post
from feed_svc.fanout.stores.redis import RedisInboxStore, _key
from feed_svc.fanout.stores.sql import SqlFanoutJobs
from feed_svc.schema import outbox
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.clock import now_ms
from tests.support.feed_fakes import Bench, fast_settings, feed_bench, timeline_entry

AUTHOR, FAN, OTHER = 100, 1, 2
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with feed_bench(tmp_path, fast_settings(follower_page=3)) as made:
        made.world.follow(FAN, AUTHOR)
        yield made


async def newest(bench: Bench, user_id: int) -> list[int]:
    followees = bench.world.relations_of[user_id].followees
    return [post.video_id for post in await bench.fanout.followed.newest(user_id, followees, 10)]


async def lasts_ms(bench: Bench, user_id: int) -> int:
    return int(await bench.platform.cache.call(_key(user_id), "PTTL"))


async def test_only_followers_who_are_active_or_of_whom_nothing_is_known_are_pushed_to(bench: Bench) -> None:
    now = now_ms(bench.world.clock)
    known = {10: 1 * HOUR_MS, 11: 30 * HOUR_MS, 12: 40 * HOUR_MS, 13: 900 * HOUR_MS}
    for follower, ago_ms in known.items():
        bench.world.follow(follower, AUTHOR)
        bench.world.activity_of[follower] = now - ago_ms
    pushed: list[int] = []

    class Seen(RedisInboxStore):
        async def push(self, post: Post, user_ids: Sequence[int]) -> int:
            pushed.extend(user_ids)
            return await super().push(post, user_ids)

    store = Seen(bench.platform.cache, bench.world.clock, ttl_s=86400, entries=500)
    jobs = SqlFanoutJobs(bench.context.db, bench.world.clock)
    ports = (bench.fanout.timelines, store, jobs, bench.world, bench.context.settings, bench.world.clock)
    commands = FanoutCommands(*ports, queued=lambda: None)
    await commands.publish(timeline_entry(bench.world.videos[bench.world.add(5, AUTHOR, "cats")]))
    assert await commands.run_next("me")
    assert pushed == [FAN, 10, 11]


async def test_a_creator_whose_followers_are_asleep_costs_windows_that_end(bench: Bench) -> None:
    long_ago = now_ms(bench.world.clock) - 10**10
    for follower in range(10, 10 + 3 * PAGES_A_WINDOW * 2):
        bench.world.follow(follower, AUTHOR)
        bench.world.activity_of[follower] = long_ago
    bench.world.activity_of[FAN] = long_ago
    await bench.fanout.commands.publish(timeline_entry(bench.world.videos[bench.world.add(5, AUTHOR, "cats")]))
    advanced: list[int] = []

    class Watched(SqlFanoutJobs):
        async def advance(self, job: FanoutJob, holder: str, lease_ms: int, *, done: bool) -> bool:
            advanced.append(job.last_follower_id)
            return await super().advance(job, holder, lease_ms, done=done)

    jobs = Watched(bench.context.db, bench.world.clock)
    settings = fast_settings(follower_page=3, pull_above_followers=1000)
    ports = (
        bench.fanout.timelines,
        RedisInboxStore(bench.platform.cache, bench.world.clock, ttl_s=86400, entries=500),
        jobs,
        bench.world,
        settings,
        bench.world.clock,
    )
    commands = FanoutCommands(*ports, queued=lambda: None)
    assert await commands.run_next("me")
    # A page is three followers, the first is FAN.
    assert advanced == [10 + 3 * PAGES_A_WINDOW - 2, 10 + 6 * PAGES_A_WINDOW - 2, 10 + 6 * PAGES_A_WINDOW - 2]


async def test_an_inbox_of_somebody_who_just_came_back_is_brief(bench: Bench) -> None:
    start = now_ms(bench.world.clock)
    bench.world.follow(OTHER, AUTHOR)
    bench.world.activity_of[FAN] = start - 3 * DAY_MS
    for viewer in (FAN, OTHER):
        await newest(bench, viewer)
    lasts = {viewer: await lasts_ms(bench, viewer) for viewer in (FAN, OTHER)}
    assert 0 < lasts[FAN] <= 120_000 < DAY_MS * 0.8 < lasts[OTHER] <= DAY_MS
    bench.world.activity_of[FAN] = start - 61_000
    await bench.platform.cache.flushall()
    await newest(bench, FAN)
    assert await lasts_ms(bench, FAN) > DAY_MS * 0.8


async def test_an_inbox_is_brief_and_the_feed_is_there_while_the_graph_is_down_or_hangs(bench: Bench) -> None:
    await bench.publish(bench.world.add(5, AUTHOR, "cats"))
    for state in (bench.world.down, bench.world.slow):
        await bench.platform.cache.flushall()
        state.add("activity")
        assert await newest(bench, FAN) == [5]
        assert 0 < await lasts_ms(bench, FAN) <= 120_000
        state.clear()


async def test_activity_is_told_in_the_transaction_that_notes_it_and_again_by_a_rebuild(bench: Bench) -> None:
    start = now_ms(bench.world.clock)

    async def told() -> list[tuple[int, int, int, str]]:
        async with bench.context.db.read() as connection:
            rows = (await connection.execute(select(outbox).order_by(outbox.c.seq))).all()
        events = [Event.FromString(row.payload) for row in rows if row.topic == "viewer"]
        bodies = [(e.viewer_active.user_id, e.viewer_active.active_at_ms) for e in events]
        assert [(row.key, row.entity) for row in rows] == [(user, f"viewer:{user}") for user, _ in bodies]
        return [(*body, e.entity_version, e.entity) for body, e in zip(bodies, events, strict=True)]

    await bench.fanout.activity.note_all([FAN, FAN, OTHER])
    first = [(user, start, start, f"viewer:{user}") for user in (FAN, OTHER)]
    assert await told() == first
    assert await bench.fanout.rebuilds["viewer_activity"]() == 2
    assert await told() == first * 2
