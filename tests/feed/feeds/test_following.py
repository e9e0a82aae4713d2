"""The feed Following."""

from __future__ import annotations

import pytest

from feed_svc.feeds.reasons import ReasonKind
from svc_kit.errors import AppError, Reason
from tests.support.feed_fakes import VIEWER, Bench, ids_of, read_all


def posts_of(bench: Bench, *authors: int) -> list[int]:
    """Newest first."""
    found = [video for video in bench.world.videos.values() if video.author_id in authors]
    return [v.video_id for v in sorted(found, key=lambda v: (v.created_at_ms, v.video_id), reverse=True)]


async def test_everything_of_followed_accounts_comes_newest_first(bench: Bench) -> None:
    for author in (100, 102, 105):
        bench.world.follow(VIEWER, author)
    pages = await read_all(bench, size=4, kind="FOLLOWING")
    assert ids_of(*pages) == posts_of(bench, 100, 102, 105)
    assert len({page.snapshot_id for page in pages}) == 1
    edges = [edge for page in pages for edge in page.edges]
    assert all(e.reason is ReasonKind.FOLLOWED and e.user_id == bench.world.videos[e.video_id].author_id for e in edges)


async def test_watched_videos_and_followers_only_ones_are_in_it(bench: Bench) -> None:
    bench.world.follow(VIEWER, 100)
    secret = bench.world.add(5000, 100, "cats", public=False, age_h=0)
    await bench.publish(secret)
    await bench.watch(1000)
    assert ids_of(*await read_all(bench, kind="FOLLOWING")) == posts_of(bench, 100)


async def test_a_follow_and_its_end_show_at_once(bench: Bench) -> None:
    bench.world.follow(VIEWER, 100)
    await bench.page(kind="FOLLOWING")
    bench.world.follow(VIEWER, 101)
    bench.world.unfollow(VIEWER, 100)
    assert ids_of(*await read_all(bench, kind="FOLLOWING")) == posts_of(bench, 101)


async def test_new_posts_are_pushed_in_front_and_do_not_move_pages_under_way(bench: Bench) -> None:
    bench.world.follow(VIEWER, 100)
    bench.world.follow(VIEWER, 101)
    first = await bench.page(kind="FOLLOWING", size=3)
    await bench.publish(bench.world.add(7000, 101, "cats", age_h=0))
    second = await bench.page(first.edges[-1].cursor, kind="FOLLOWING", size=3)
    assert ids_of(first, second) == posts_of(bench, 100, 101)[1:7]
    assert ids_of(await bench.page(kind="FOLLOWING", size=1)) == [7000]
    assert await bench.page(first.edges[-1].cursor, kind="FOLLOWING", size=3) == second


async def test_muted_and_blocked_accounts_and_deleted_videos_are_left_out(bench: Bench) -> None:
    for author in (100, 101, 102):
        bench.world.follow(VIEWER, author)
    first = await bench.page(kind="FOLLOWING", size=2)
    bench.world.mute(VIEWER, 100)
    bench.world.block(101, VIEWER)
    gone = posts_of(bench, 102)[-1]
    await bench.delete(gone)
    rest = await bench.page(first.edges[-1].cursor, kind="FOLLOWING")
    assert set(ids_of(rest)) <= set(posts_of(bench, 102))
    assert gone not in ids_of(rest)


async def test_it_is_complete_beyond_the_inbox(bench: Bench) -> None:
    bench.world.follow(VIEWER, 100)
    bench.world.follow(VIEWER, 101)
    for i in range(520):
        bench.world.add(20_000 + i, 100 + i % 2, "cats", age_h=100 + i)
    await bench.publish(*range(20_000, 20_520))
    pages = await read_all(bench, size=100, kind="FOLLOWING")
    assert ids_of(*pages) == posts_of(bench, 100, 101)


async def test_it_needs_a_viewer(bench: Bench) -> None:
    with pytest.raises(AppError) as caught:
        await bench.page(kind="FOLLOWING", viewer=0)
    assert caught.value.reason is Reason.UNAUTHENTICATED


async def test_without_the_cache_it_is_pulled(bench: Bench) -> None:
    bench.world.follow(VIEWER, 100)
    before = await bench.page(kind="FOLLOWING")
    await bench.platform.cache.flushall()
    assert ids_of(await bench.page(kind="FOLLOWING")) == ids_of(before)
