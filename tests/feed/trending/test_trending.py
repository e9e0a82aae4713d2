"""TrendingService as a client sees it, and as a projection."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import text

from feed_svc.trending.commands import TOPICS
from feed_svc.trending.worker import GROUP
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.clock import now_ms
from svc_kit.db import connect
from svc_kit.errors import AppError, Reason
from svc_kit.ids import EPOCH_MS
from tests.feed.trending.conftest import World, open_world
from tests.support.cache import keys
from tests.support.feed_peers import PRIVATE
from tests.support.platform import emitted

HOUR_MS = 3_600_000


def publish(world: World, *ids: int, author_id: int = 100) -> None:
    for place, video_id in enumerate(ids):
        world.story.video(video_id, author_id, f"clip {video_id}", age_ms=(place + 1) * HOUR_MS)


async def test_a_new_instance_lists_public_videos_newest_first(world: World) -> None:
    assert await world.top() == []
    publish(world, 1, 2, 3)
    world.story.video(4, 100, "private", PRIVATE)
    await world.settle()
    assert await world.top() == [1, 2, 3]
    world.clock.advance(400 * 24 * 3600)
    assert await world.top() == [1, 2, 3]


async def test_what_is_watched_liked_and_shared_comes_first(world: World) -> None:
    publish(world, 1, 2, 3, 4, 5)
    for viewer in range(1, 4):
        world.watch(viewer, 5, 10_000)
    for viewer in range(1, 6):
        world.watch(viewer, 4, 200)
    world.like(1, 3)
    world.share(1, 2)
    await world.settle()
    assert await world.top() == [2, 3, 5, 1, 4]
    scores = [entry.score for entry in (await world.page(10)).entries]
    assert scores == sorted(scores, reverse=True) and scores[0] > 4


async def test_yesterdays_success_gives_way(world: World) -> None:
    publish(world, 1, 2)
    for viewer in range(1, 9):
        world.watch(viewer, 1, 10_000)
    await world.settle()
    assert await world.top() == [1, 2]
    world.clock.advance(24 * 3600)
    world.watch(20, 2, 10_000)
    world.watch(21, 2, 10_000)
    await world.settle()
    assert await world.top() == [2, 1]


async def test_what_authors_do_with_their_own_counts_nothing(world: World) -> None:
    publish(world, 1, 2)
    for _ in range(20):
        world.watch(100, 2, 10_000)
    world.like(100, 2)
    await world.settle()
    assert await world.top() == [1, 2]


async def test_a_burst_of_accounts_of_an_hour_ago_does_not_trend(world: World) -> None:
    publish(world, 1, 2)
    created = now_ms(world.clock) - 3_600_000 - EPOCH_MS
    fresh = [(created << 22) + n for n in range(60)]
    for account in fresh:
        world.watch(account, 1, 10_000)
        world.like(account, 1)
    for viewer in range(10, 16):
        world.watch(viewer, 2, 10_000)
        world.like(viewer, 2)
    await world.settle()
    assert await world.top() == [2, 1]
    for account in fresh:
        world.unlike(account, 1)
    await world.settle()
    assert await world.top() == [2, 1]


async def test_nobody_makes_a_video_trend_by_themselves(world: World) -> None:
    publish(world, 1, 2)
    for _ in range(30):
        world.watch(10, 1, 10_000)
        world.share(10, 1)
    for viewer in (20, 21):
        world.watch(viewer, 2, 10_000)
        world.share(viewer, 2)
    await world.settle()
    assert await world.top() == [2, 1]
    db = connect(world.platform.settings.service_db_url("feed"))
    async with db.read() as connection:
        rows = await connection.execute(text("SELECT video_id, views FROM trending_views"))
        views = {row.video_id: row.views for row in rows}
    await db.close()
    assert views == {1: 30, 2: 2}


async def test_a_like_taken_back_takes_off_exactly_what_it_added(world: World) -> None:
    publish(world, 1, 2)
    await world.settle()
    before = [(entry.video_id, entry.score) for entry in (await world.page()).entries]
    world.like(7, 2)
    await world.settle()
    assert await world.top() == [2, 1]
    world.clock.advance(3600)
    world.unlike(7, 2)
    await world.settle()
    world.clock.advance(-3600)
    assert [(entry.video_id, entry.score) for entry in (await world.page()).entries] == before


async def test_only_what_the_caller_may_see_is_listed_and_pages_are_full(world: World) -> None:
    for number in range(1, 41):
        world.story.video(number, 1 + number % 2, age_ms=number)
    await world.settle()
    world.truth.blocks.add((2, 9))
    world.truth.videos[4].visibility = PRIVATE
    viewer = world.platform.tokens.viewer(9)
    first = await world.page(8, caller=viewer)
    assert [entry.video_id for entry in first.entries] == [2, 6, 8, 10, 12, 14, 16, 18]
    assert await world.top(viewer) == [n for n in range(1, 41) if n % 2 == 0 and n != 4]
    assert len(await world.top()) == 39


async def test_pages_of_one_token_chain_never_repeat_whatever_happens_between(world: World) -> None:
    publish(world, *range(1, 31))
    await world.settle()
    seen: list[int] = []
    token = ""
    for turn in range(100):
        page = await world.page(4, token)
        seen += [entry.video_id for entry in page.entries]
        token = page.next_page_token
        if not token:
            break
        for viewer in range(5):
            world.watch(100 + turn * 10 + viewer, 30 - turn, 10_000)
            world.watch(200 + turn * 10 + viewer, 1 + turn, 10_000)
        await world.settle()
    assert seen == list(range(1, 31))
    middle = (await world.page(10)).entries[3]
    after = [entry.video_id for entry in (await world.page(100, middle.page_token)).entries]
    assert after == (await world.top())[4:]


async def test_a_lost_list_goes_on_below_the_place_of_the_token(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    publish(world, *range(1, 11))
    await world.settle()
    token = (await world.page(4)).next_page_token
    await world.platform.cache.flushall()
    async with open_world(tmp_path_factory.mktemp("other")) as other:
        publish(other, *range(1, 11))
        other.story.video(50, 100, "newer than all")
        await other.settle()
        rest = [entry.video_id for entry in (await other.page(100, token)).entries]
    assert rest == [5, 6, 7, 8, 9, 10]


async def test_lists_are_found_by_other_processes_in_the_cache(world: World) -> None:
    publish(world, 1, 2, 3, 4)
    await world.settle()
    token = (await world.page(2)).next_page_token
    (key,) = await keys(world.platform.cache, "trending:*")
    assert await world.platform.cache.call(key, "TTL") > 0
    assert [entry.video_id for entry in (await world.page(2, token)).entries] == [3, 4]


async def test_a_forged_token_is_refused(world: World) -> None:
    with pytest.raises(AppError) as refused:
        await world.page(token="nonsense")
    assert (refused.value.reason, refused.value.violations[0].field) == (Reason.BAD_USER_INPUT, "page_token")


async def a_busy_day(world: World) -> None:
    publish(world, *range(1, 9))
    rng = random.Random(7)
    for step in range(60):
        video_id = rng.randint(1, 8)
        rng.choice([world.watch(step, video_id, rng.randint(0, 10_000)), world.like(step, video_id)])
        if step % 5 == 0:
            world.share(step, video_id)
        if step % 7 == 0:
            world.like(step, 3)
            world.unlike(step, 3)
        if step % 20 == 0:
            world.clock.advance(1800)
    world.story.video_gone(8)
    world.story.video(7, 100, "hidden", PRIVATE)


async def listed(world: World) -> list[tuple[int, float]]:
    return [(entry.video_id, entry.score) for entry in (await world.page(100)).entries]


async def test_any_order_of_delivery_repetition_and_replay_end_the_same(world: World) -> None:
    await a_busy_day(world)
    records = list(world.story.records())
    await world.settle()
    expected = await listed(world)
    assert len(expected) == 6
    await world.platform.bus.publish([*records, *reversed(records)])
    await world.settle()
    assert await listed(world) == expected
    ends = await world.platform.bus.ends(TOPICS)
    async with world.platform.bus.consumer(GROUP, TOPICS) as consumer:
        await consumer.seek(dict.fromkeys(ends, 0))
    await world.settle()
    assert await listed(world) == expected


async def test_events_in_another_order_give_the_same_list(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await a_busy_day(world)
    records = list(world.story.records())
    await world.settle()
    expected = await listed(world)
    random.Random(3).shuffle(records)
    async with open_world(tmp_path_factory.mktemp("other")) as other:
        other.clock.advance(world.clock.monotonic())
        other.truth.videos = world.truth.videos
        await other.platform.bus.publish(records)
        await other.settle()
        assert await listed(other) == expected


async def test_rebuilding_changes_nothing_and_fills_an_empty_store(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await a_busy_day(world)
    records = list(world.story.records())
    await world.settle()
    expected = await listed(world)
    assert await world.service.rebuilds["trending"]() == 6
    assert await listed(world) == expected
    async with open_world(tmp_path_factory.mktemp("other")) as other:
        other.clock.advance(world.clock.monotonic())
        await other.platform.bus.publish(records)
        await other.settle()
        await forget_everything(other)
        other.truth.videos = world.truth.videos
        assert await listed(other) == []
        assert await other.service.rebuilds["trending"]() == 6
        assert await listed(other) == expected


async def forget_everything(world: World) -> None:
    db = connect(world.platform.settings.service_db_url("feed"))
    async with db.write() as connection:
        for table in ("trending_videos", "trending_acts", "trending_buckets", "trending_views"):
            await connection.execute(text(f"DELETE FROM {table}"))
    await db.close()


async def test_an_event_older_than_the_window_counts_nothing(world: World) -> None:
    publish(world, 1, 2)
    world.watch(5, 2, 10_000)
    world.clock.advance(80 * 3600)
    await world.settle()
    assert await world.top() == [1, 2]


async def viral(world: World) -> list[Event]:
    await world.settle()
    await world.look_for_viral()
    events = await emitted(world.platform, "feed")
    return [event for event in events if event.WhichOneof("body") == "video_viral"]


async def test_a_video_viewed_far_more_than_others_is_told_of_once(world: World) -> None:
    publish(world, 1, 2)
    for viewer in range(1, 31):
        world.watch(viewer, 1, 500)
    assert await viral(world) == []
    world.watch(31, 1, 500)
    (event,) = await viral(world)
    assert (event.entity, event.actor_id, event.entity_version) == ("video:1", 100, 1)
    assert (event.video_viral.video_id, event.video_viral.views_last_hour) == (1, 31)
    for viewer in range(50, 90):
        world.watch(viewer, 1, 500)
    world.story.video(1, 100, "changed")
    assert len(await viral(world)) == 1


async def test_views_of_hours_ago_make_nothing_viral(world: World) -> None:
    publish(world, 1)
    for viewer in range(1, 26):
        world.watch(viewer, 1, 500)
    world.clock.advance(2 * 3600)
    for viewer in range(30, 50):
        world.watch(viewer, 1, 500)
    assert await viral(world) == []
