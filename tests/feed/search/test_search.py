"""SearchService as a client sees it."""

from __future__ import annotations

import pytest

from reelgraph.feed.v1 import search_pb2 as pb
from svc_kit.errors import AppError, Reason
from tests.feed.search.conftest import World
from tests.support.feed_peers import PRIVATE

VIDEO, USER, HASHTAG = (
    pb.SearchType.SEARCH_TYPE_VIDEO,
    pb.SearchType.SEARCH_TYPE_USER,
    pb.SearchType.SEARCH_TYPE_HASHTAG,
)


async def a_few(world: World) -> None:
    world.story.account(1, "cats_daily", "Cats every day")
    world.story.account(2, "bob", "Bob Builder")
    world.story.video(11, 1, "Sleeping in the sun #cats")
    world.story.video(12, 2, "My cats and I #cats #home")
    world.story.video(13, 2, "Building a house #home")
    await world.settle()


async def test_videos_accounts_and_hashtags_come_mixed_best_first(world: World) -> None:
    await a_few(world)
    assert (await world.found("cats"))[:2] == ["tag:cats", "user:1"]
    assert set(await world.found("cats")) == {"tag:cats", "user:1", "video:11", "video:12"}
    assert set(await world.found("cat")) >= {"tag:cats", "user:1", "video:11"}
    found = await world.found("bulder")
    assert (found[0], set(found)) == ("user:2", {"user:2", "video:12", "video:13"})
    assert await world.found("hom", types=[HASHTAG]) == ["tag:home"]
    assert await world.found("house", types=[USER, HASHTAG]) == []
    assert sorted(await world.found("bob", types=[VIDEO])) == ["video:12", "video:13"]


async def test_the_hashtag_of_a_hit_has_its_number(world: World) -> None:
    await a_few(world)
    (hit,) = (await world.ask("home", types=[HASHTAG])).hits
    assert (hit.id, hit.hashtag.name, hit.hashtag.video_count) == (0, "home", 2)


@pytest.mark.parametrize("query", ["", "  ", "#", "zzzz"])
async def test_a_query_that_says_nothing_finds_nothing(world: World, query: str) -> None:
    await a_few(world)
    assert list((await world.ask(query)).hits) == []


async def test_a_video_that_is_not_public_is_not_found_by_anybody(world: World) -> None:
    await a_few(world)
    owner, other = world.platform.tokens.viewer(1), world.platform.tokens.viewer(3)
    world.story.video(14, 1, "secretparty #hiddenplace", PRIVATE)
    world.story.video(11, 1, "Sleeping in the sun #cats", PRIVATE)
    await world.settle()
    for caller in (owner, other):
        assert await world.found("secretparty", caller) == []
        assert await world.found("hiddenplace", caller) == []
        assert "video:11" not in await world.found("cats", caller)
    assert await world.hashtags("cats", "hiddenplace") == {"cats": 1}
    world.story.video(11, 1, "Sleeping in the sun #cats")
    await world.settle()
    assert "video:11" in await world.found("cats", other)


async def test_what_truth_hides_is_left_out_before_search_knows(world: World) -> None:
    await a_few(world)
    world.truth.videos[11].visibility = PRIVATE
    del world.truth.videos[12]
    assert await world.found("cats", types=[VIDEO]) == []
    assert await world.tagged("cats") == []


async def test_a_block_hides_both_from_each_other_and_nobody_else(world: World) -> None:
    await a_few(world)
    world.story.account(3, "carol")
    await world.settle()
    world.truth.blocks.add((1, 3))
    carol, dave = world.platform.tokens.viewer(3), world.platform.tokens.viewer(4)
    assert await world.found("cats", carol) == ["tag:cats", "video:12"]
    assert await world.found("carol", world.platform.tokens.viewer(1)) == []
    assert await world.tagged("cats", carol) == [12]
    assert {"user:1", "video:11"} <= set(await world.found("cats", dave))
    assert {"user:1", "video:11"} <= set(await world.found("cats"))


async def test_search_fails_rather_than_show_what_it_may_not(world: World) -> None:
    await a_few(world)
    world.truth.down = {"BatchGetRelations"}
    with pytest.raises(AppError) as failed:
        await world.ask("cats", world.platform.tokens.viewer(3))
    assert failed.value.reason is Reason.UNAVAILABLE
    assert "user:1" in await world.found("cats")


async def test_pages_hold_everything_visible_once_and_are_full(world: World) -> None:
    for number in range(1, 41):
        world.story.video(number, 1 + number % 2, f"clip {number} #waves")
    await world.settle()
    world.truth.blocks.add((3, 2))
    viewer = world.platform.tokens.viewer(3)
    seen: list[int] = []
    token, sizes = "", []
    while True:
        page = await world.ask("waves", viewer, [VIDEO], size=7, token=token)
        seen += [hit.id for hit in page.hits]
        sizes.append(len(page.hits))
        token = page.next_page_token
        if not token:
            break
    assert sizes == [7, 7, 6]
    assert sorted(seen) == [number for number in range(1, 41) if number % 2 == 0]
    first = await world.ask("waves", viewer, [VIDEO], size=7)
    after_third = await world.ask("waves", viewer, [VIDEO], size=4, token=first.hits[2].page_token)
    assert [hit.id for hit in after_third.hits] == seen[3:7]


async def test_a_token_of_another_query_other_types_or_none_at_all_is_refused(world: World) -> None:
    for number in range(1, 5):
        world.story.video(number, 1, "waves")
    await world.settle()
    token = (await world.ask("waves", size=2)).next_page_token
    assert len((await world.ask(" WAVES ", size=2, token=token)).hits) == 2
    for query, types, bad in (("wave", (), token), ("waves", (VIDEO,), token), ("waves", (), "nonsense")):
        with pytest.raises(AppError) as refused:
            await world.ask(query, types=types, token=bad)
        assert (refused.value.reason, refused.value.violations[0].field) == (Reason.BAD_USER_INPUT, "page_token")


async def test_a_deleted_video_and_a_deleted_account_are_gone(world: World) -> None:
    await a_few(world)
    world.story.video_gone(12)
    world.story.account_gone(2)
    await world.settle()
    assert "video:12" not in await world.found("cats")
    assert await world.found("builder", types=[USER]) == []
    assert await world.hashtags("cats", "home") == {"cats": 1, "home": 1}


async def test_a_changed_name_is_found_and_the_old_one_is_not(world: World) -> None:
    await a_few(world)
    world.story.account(2, "bob", "Robert Mason")
    await world.settle()
    assert "user:2" in await world.found("mason")
    assert {"video:12", "video:13"} <= set(await world.found("mason", types=[VIDEO]))
    assert await world.found("builder") == []


async def test_hashtags_are_asked_with_or_without_the_sign_in_any_case(world: World) -> None:
    await a_few(world)
    assert await world.hashtags("#Cats", "HOME", "cats", "unknown", "not a tag") == {"cats": 2, "home": 2}
    assert await world.tagged("#CATS") == await world.tagged("cats")


async def test_a_hashtags_videos_come_newest_first_in_pages_without_gaps(world: World) -> None:
    for number in range(1, 31):
        world.story.video(number, 1, "#waves", age_ms=(number % 5) * 1000)
    await world.settle()
    videos = await world.tagged("waves", size=4)
    assert sorted(videos) == list(range(1, 31))
    ages = [number % 5 for number in videos]
    assert ages == sorted(ages)
    assert await world.tagged("nothing") == []


async def test_a_changed_caption_changes_hashtags_and_text(world: World) -> None:
    await a_few(world)
    world.story.video(13, 2, "Planting trees #garden")
    await world.settle()
    assert await world.hashtags("home", "garden") == {"home": 1, "garden": 1}
    assert "video:13" not in await world.found("house")
    assert await world.found("planting") == ["video:13"]
