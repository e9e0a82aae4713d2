"""The feed For You as a viewer meets it."""

from __future__ import annotations

from collections import Counter

import pytest

from feed_svc.feeds.reasons import ReasonKind
from svc_kit.errors import AppError, Reason
from tests.support.feed_fakes import VIEWER, Bench, ids_of, process, read_all


def topics(bench: Bench, ids: list[int]) -> Counter[str]:
    return Counter(bench.world.videos[v].hashtags[0] for v in ids)


async def test_pages_go_through_all_videos_without_repeating_one(bench: Bench) -> None:
    pages = await read_all(bench)
    assert len({page.snapshot_id for page in pages}) == 1
    assert sorted(ids_of(*pages)) == sorted(bench.world.videos)
    assert [page.is_stale for page in pages] == [False] * len(pages)


async def test_the_same_cursor_gives_the_same_page(bench: Bench) -> None:
    first = await bench.page()
    second = await bench.page(first.edges[-1].cursor)
    third = await bench.page(second.edges[-1].cursor)
    assert await bench.page(first.edges[-1].cursor) == second
    assert await bench.page(second.edges[-1].cursor) == third
    assert ids_of(await bench.page(first.edges[4].cursor)) == ids_of(first)[5:] + ids_of(second)[:5]


async def test_a_first_page_is_reused_until_it_is_old_or_the_viewer_acts(bench: Bench) -> None:
    first = await bench.page()
    assert await bench.page() == first
    bench.world.clock.advance(301)
    later = await bench.page()
    assert later.snapshot_id != first.snapshot_id
    await bench.watch(ids_of(later)[0])
    after_watch = await bench.page()
    assert after_watch.snapshot_id != later.snapshot_id
    assert ids_of(later)[0] not in ids_of(after_watch)


async def test_cursors_of_an_older_snapshot_go_on_for_a_day(bench: Bench) -> None:
    first = await bench.page()
    bench.world.clock.advance(3600)
    await bench.page()
    second = await bench.page(first.edges[-1].cursor)
    assert second.snapshot_id == first.snapshot_id
    assert not set(ids_of(first)) & set(ids_of(second))
    bench.world.clock.advance(24 * 3600)
    new = await bench.page(second.edges[-1].cursor)
    assert new.snapshot_id != first.snapshot_id


async def test_a_watch_reported_now_counts_for_the_next_page(bench: Bench) -> None:
    first = await bench.page()
    cats = [v for v in bench.world.videos if bench.world.videos[v].hashtags == ("cats",)]
    unseen = [v for v in cats if v not in ids_of(first)]
    await bench.watch(unseen[0])
    second = await bench.page(first.edges[-1].cursor)
    assert second.snapshot_id == first.snapshot_id
    assert unseen[0] not in ids_of(second)
    assert not set(ids_of(first)) & set(ids_of(second))


async def test_ten_watches_of_one_taste_lean_the_next_page_to_it_and_leave_it_varied(bench: Bench) -> None:
    for i in range(20):
        bench.world.add(2000 + i, 100 + i % 8, "dance")
    # There is more of another topic, so that curiosity does not bring dances to the first page already.
    for i in range(40):
        bench.world.add(3000 + i, 100 + i % 8, "tea")
    await bench.publish(*range(2000, 2020), *range(3000, 3040))
    first = await bench.page()
    before = topics(bench, ids_of(first))["dance"]
    dances = [v for v in bench.world.videos if bench.world.videos[v].hashtags == ("dance",)]
    await bench.watch(*[v for v in dances if v not in ids_of(first)][:10])
    for page in (await bench.page(first.edges[-1].cursor), await bench.page()):
        # The place for a young video is drawn, whatever its topic.
        after = topics(bench, [edge.video_id for edge in page.edges if edge.reason is not ReasonKind.NEW])
        assert before < after["dance"] <= 5
        assert len(after) >= 3
        tastes = [edge for edge in page.edges if edge.reason is ReasonKind.FOR_YOUR_TASTE]
        dancing = [edge.hashtag for edge in tastes if bench.world.videos[edge.video_id].hashtags == ("dance",)]
        assert set(dancing) == {"dance"}


async def test_blocked_and_muted_authors_leave_pages_that_were_served(bench: Bench) -> None:
    first = await bench.page()
    by_author = {edge.video_id: bench.world.videos[edge.video_id].author_id for edge in first.edges}
    blocked, muted = by_author[ids_of(first)[0]], by_author[ids_of(first)[1]]
    bench.world.block(VIEWER, blocked)
    bench.world.mute(VIEWER, muted)
    gone = {v for v, video in bench.world.videos.items() if video.author_id in (blocked, muted)}
    second = await bench.page(first.edges[4].cursor)
    assert not gone & set(ids_of(second))
    assert len(second.edges) == 10
    assert not gone & set(ids_of(*await read_all(bench)))


async def test_a_deleted_video_is_left_out_and_the_page_is_filled_from_the_tail(bench: Bench) -> None:
    first = await bench.page()
    second = await bench.page(first.edges[-1].cursor)
    await bench.delete(ids_of(second)[3])
    again = await bench.page(first.edges[-1].cursor)
    assert ids_of(again)[:9] == ids_of(second)[:3] + ids_of(second)[4:]
    assert len(again.edges) == 10
    assert again.edges[-1].video_id not in ids_of(first, second)


async def test_followers_only_videos_and_own_ones_are_not_for_you(bench: Bench) -> None:
    bench.world.follow(VIEWER, 100)
    secret = bench.world.add(5000, 100, "cats", public=False)
    own = bench.world.add(5001, VIEWER, "cats")
    await bench.publish(secret, own)
    assert not {secret, own} & set(ids_of(*await read_all(bench)))


async def test_followed_authors_are_the_reason_while_they_are_followed(bench: Bench) -> None:
    bench.world.follow(VIEWER, 103)
    pages = await read_all(bench)
    for edge in (edge for page in pages for edge in page.edges):
        followed = bench.world.videos[edge.video_id].author_id == 103
        assert (edge.reason is ReasonKind.FOLLOWED) == followed
        assert edge.user_id == (103 if followed else 0)


async def test_when_all_is_shown_the_page_is_short_and_a_seen_one_comes_again_the_longest_ago_first(
    bench: Bench,
) -> None:
    pages = await read_all(bench, size=15)
    assert [len(page.edges) for page in pages] == [15, 15, 10]
    order = sorted(bench.world.videos)
    await bench.watch(*order)
    again = await bench.page()
    assert {edge.reason for edge in again.edges} == {ReasonKind.WATCH_AGAIN}
    assert len(again.edges) == 10
    assert set(ids_of(again)) <= set(order[:20])
    rest = await bench.page(again.edges[-1].cursor)
    assert not set(ids_of(rest)) & set(ids_of(again))


async def test_a_video_published_after_the_end_appears_after_a_while(bench: Bench) -> None:
    pages = await read_all(bench)
    end = pages[-1].edges[-1].cursor
    assert (await bench.page(end)).edges == []
    bench.world.clock.advance(60)
    await bench.publish(bench.world.add(9000, 107, "cats", age_h=0))
    assert ids_of(await bench.page(end)) == [9000]


async def test_the_cache_may_be_lost_at_any_moment(bench: Bench) -> None:
    first = await bench.page()
    await bench.platform.cache.flushall()
    second = await bench.page(first.edges[-1].cursor)
    await bench.platform.cache.flushall()
    assert await bench.page() == first
    assert await bench.page(first.edges[-1].cursor) == second
    assert not set(ids_of(first)) & set(ids_of(second))


async def test_another_process_serves_the_same_pages_and_goes_on(bench: Bench) -> None:
    first = await bench.page()
    async with process(bench.world, bench.platform) as other:
        assert await other.page() == first
        second = await other.page(first.edges[-1].cursor)
    assert await bench.page(first.edges[-1].cursor) == second


async def test_a_restart_without_the_cache_goes_on_where_it_was(bench: Bench) -> None:
    first = await bench.page()
    second = await bench.page(first.edges[-1].cursor)
    for flush in bench.feeds.flushes:
        await flush()
    await bench.platform.cache.flushall()
    async with process(bench.world, bench.platform) as other:
        third = await other.page(second.edges[-1].cursor)
        assert third.snapshot_id == first.snapshot_id
        assert not set(ids_of(third)) & set(ids_of(first, second))
        assert ids_of(await other.page(first.edges[-1].cursor)) == ids_of(second)


async def test_a_lost_snapshot_is_replaced_without_what_it_is_known_to_have_served(bench: Bench) -> None:
    first = await bench.page()
    for flush in bench.feeds.flushes:
        await flush()
    second = await bench.page(first.edges[-1].cursor)
    await bench.platform.cache.flushall()
    async with process(bench.world, bench.platform) as other:
        page = await other.page(second.edges[-1].cursor)
        assert page.snapshot_id != first.snapshot_id
        assert not set(ids_of(page)) & {*ids_of(first), second.edges[-1].video_id}
        assert await other.page(second.edges[-1].cursor) == page


@pytest.mark.parametrize("cursor", ["nonsense", "", "x" * 3000])
async def test_a_malformed_cursor_is_named(bench: Bench, cursor: str) -> None:
    if not cursor:
        cursor = (await bench.page()).edges[0].cursor[:-2] + "AA"
    with pytest.raises(AppError) as caught:
        await bench.page(cursor)
    assert caught.value.reason is Reason.BAD_USER_INPUT
    assert [violation.field for violation in caught.value.violations] == ["cursor"]


async def test_a_cursor_belongs_to_its_viewer_and_its_feed(bench: Bench) -> None:
    bench.world.follow(VIEWER, 100)
    mine = (await bench.page()).edges[0].cursor
    following = (await bench.page(kind="FOLLOWING")).edges[0].cursor
    anonymous = (await bench.page(viewer=0, client="phone-1")).edges[0].cursor
    for options in (
        {"cursor": mine, "viewer": 2},
        {"cursor": mine, "viewer": 0, "client": "phone-1"},
        {"cursor": mine, "kind": "FOLLOWING"},
        {"cursor": following},
        {"cursor": anonymous, "viewer": 0, "client": "phone-2"},
        {"cursor": anonymous},
    ):
        with pytest.raises(AppError) as caught:
            await bench.page(**options)
        assert caught.value.reason is Reason.BAD_USER_INPUT


async def test_logged_out_a_client_id_keeps_its_own_feed(bench: Bench) -> None:
    one = await bench.page(viewer=0, client="phone-1")
    other = await bench.page(viewer=0, client="phone-2")
    assert one.snapshot_id != other.snapshot_id
    assert await bench.page(viewer=0, client="phone-1") == one
    nobody = await bench.page(viewer=0)
    rest = await bench.page(nobody.edges[-1].cursor, viewer=0)
    assert not set(ids_of(nobody)) & set(ids_of(rest))
    assert bench.calls["relations"] == 0
    kinds = {edge.reason for edge in one.edges}
    assert kinds <= {ReasonKind.POPULAR_NEAR_YOU, ReasonKind.NEW, ReasonKind.TRENDING}


async def test_interests_make_the_cold_start_and_are_its_reason(bench: Bench) -> None:
    bench.world.interests_of[VIEWER] = ("football",)
    first = await bench.page()
    assert topics(bench, ids_of(first))["football"] >= 4
    tagged = [edge for edge in first.edges if edge.hashtag]
    assert tagged
    assert {edge.hashtag for edge in tagged} == {"football"}


async def test_one_viewer_alone_with_their_own_videos_still_sees_something(bench: Bench) -> None:
    bench.world.videos = {v: video for v, video in bench.world.videos.items() if video.author_id == 100}
    assert len((await bench.page(viewer=100)).edges) == 5


async def test_served_pages_are_told_to_the_bus_once(bench: Bench) -> None:
    from reelgraph.events.v1.event_pb2 import Event

    first = await bench.page()
    await bench.page()
    await bench.page(first.edges[-1].cursor)
    for flush in bench.feeds.flushes:
        await flush()
    async with bench.platform.bus.consumer("test", ["feed"]) as consumer:
        events = [Event.FromString(d.record.payload) for d in await consumer.poll(10, 0.1)]
    assert [event.entity for event in events] == [f"page:{first.snapshot_id}:0", f"page:{first.snapshot_id}:10"]
    shown = events[0].feed_served.impressions
    assert [i.video_id for i in shown] == ids_of(first)
    assert [i.position for i in shown] == list(range(10))
    assert all(0 < i.propensity <= 1 and i.source and i.impression_id for i in shown)
    assert events[0].feed_served.model_version == "fake-1"
