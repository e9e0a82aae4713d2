"""Lists, numbers, suggestions and the viewer's graph over a real server."""

from __future__ import annotations

from typing import Any

import pytest

from graph_svc.follows.store import Edge, FollowGraph
from reelgraph.graph.v1 import follows_pb2 as pb
from svc_kit.errors import AppError, Reason
from svc_kit.rpc.client import AS_SERVICE
from tests.support.graph_world import ANNA, BEN, CLEO, DAN, EVE, NAMES, GraphWorld, open_graph_world


async def follow(world: GraphWorld, *edges: tuple[int, int]) -> None:
    for follower, followee in edges:
        await world.call(world.follows.FollowUser, pb.FollowUserRequest(user_id=followee), follower)


async def followers(world: GraphWorld, user_id: int, viewer: int = 0, **page: Any) -> pb.ListFollowersResponse:
    request = pb.ListFollowersRequest(user_id=user_id, **page)
    answer: pb.ListFollowersResponse = await world.call(world.follows.ListFollowers, request, viewer)
    return answer


async def followees(world: GraphWorld, user_id: int, viewer: int = 0) -> list[int]:
    answer = await world.call(world.follows.ListFollowees, pb.ListFolloweesRequest(user_id=user_id), viewer)
    return [entry.user_id for entry in answer.entries]


def ids(page: pb.ListFollowersResponse) -> list[int]:
    return [entry.user_id for entry in page.entries]


async def test_followers_come_newest_first_and_pages_neither_repeat_nor_skip(world: GraphWorld) -> None:
    await follow(world, (BEN, ANNA), (CLEO, ANNA), (DAN, ANNA), (EVE, ANNA))
    await world.settle()
    first = await followers(world, ANNA, page_size=2)
    second = await followers(world, ANNA, page_size=2, page_token=first.next_page_token)
    assert (ids(first), ids(second), second.next_page_token) == ([EVE, DAN], [CLEO, BEN], "")
    after_one = await followers(world, ANNA, page_token=first.entries[0].page_token)
    assert ids(after_one) == [DAN, CLEO, BEN]


async def test_viewers_find_their_own_follow_in_lists_before_the_graph_has_it(idle_world: GraphWorld) -> None:
    world = idle_world
    await follow(world, (BEN, ANNA), (BEN, CLEO))
    assert ids(await followers(world, ANNA, viewer=BEN)) == [BEN]
    assert ids(await followers(world, ANNA, viewer=CLEO)) == []
    assert await followees(world, BEN, viewer=BEN) == [CLEO, ANNA]
    request = pb.BatchGetFollowCountsRequest(user_ids=[BEN, ANNA])
    counts = (await world.call(world.follows.BatchGetFollowCounts, request, BEN)).counts
    assert [(c.follower_count, c.followee_count) for c in counts] == [(0, 2), (1, 0)]


async def test_an_ended_follow_is_gone_from_its_viewers_lists_though_the_graph_still_has_it(
    idle_world: GraphWorld, graph: FollowGraph
) -> None:
    world = idle_world
    await graph.apply([Edge(follower, ANNA, True, 1, follower) for follower in (CLEO, BEN, DAN)])
    page = await followers(world, ANNA, viewer=BEN, page_size=1)
    assert ids(page) == [DAN]
    assert ids(await followers(world, ANNA, viewer=BEN, page_token=page.next_page_token)) == [CLEO]


async def test_accounts_blocked_either_way_are_left_out_of_lists(world: GraphWorld) -> None:
    await follow(world, (BEN, ANNA), (CLEO, ANNA), (DAN, ANNA))
    await world.call(world.follows.BlockUser, pb.BlockUserRequest(user_id=EVE), BEN)
    await world.call(world.follows.BlockUser, pb.BlockUserRequest(user_id=CLEO), EVE)
    await world.settle()
    assert ids(await followers(world, ANNA, viewer=EVE)) == [DAN]
    assert ids(await followers(world, ANNA)) == [DAN, CLEO, BEN]
    assert await followees(world, BEN, viewer=EVE) == []


async def test_a_page_is_filled_past_hidden_entries(world: GraphWorld) -> None:
    await follow(world, (BEN, ANNA), (CLEO, ANNA), (DAN, ANNA))
    await world.call(world.follows.BlockUser, pb.BlockUserRequest(user_id=DAN), EVE)
    await world.settle()
    page = await followers(world, ANNA, viewer=EVE, page_size=1)
    assert ids(page) == [CLEO]
    assert ids(await followers(world, ANNA, viewer=EVE, page_size=1, page_token=page.next_page_token)) == [BEN]


@pytest.mark.parametrize("token", ["x", "AAAA", "Ã¶" * 9, "A" * 4000])
async def test_a_malformed_page_token_is_bad_input(world: GraphWorld, token: str) -> None:
    with pytest.raises(AppError) as caught:
        await followers(world, ANNA, page_token=token)
    assert (caught.value.reason, caught.value.violations[0].field) == (Reason.BAD_USER_INPUT, "page_token")


async def test_a_token_of_another_list_is_bad_input(world: GraphWorld) -> None:
    await follow(world, (BEN, ANNA))
    await world.settle()
    token = (await followers(world, ANNA)).entries[0].page_token
    with pytest.raises(AppError) as caught:
        await followers(world, CLEO, page_token=token)
    assert caught.value.reason is Reason.BAD_USER_INPUT


@pytest.mark.parametrize(("size", "shown"), [(0, 4), (1_000_000, 4), (3, 3)])
async def test_page_sizes_are_bounded(world: GraphWorld, size: int, shown: int) -> None:
    await follow(world, (BEN, ANNA), (CLEO, ANNA), (DAN, ANNA), (EVE, ANNA))
    await world.settle()
    assert len(ids(await followers(world, ANNA, page_size=size))) == shown


async def test_a_negative_page_size_is_bad_input(world: GraphWorld) -> None:
    with pytest.raises(AppError) as caught:
        await followers(world, ANNA, page_size=-1)
    assert caught.value.violations[0].field == "page_size"


async def test_counts_and_relations_answer_one_entry_an_id_in_order(world: GraphWorld) -> None:
    await follow(world, (BEN, ANNA))
    await world.settle()
    asked = [999, ANNA, BEN, ANNA]
    counts = await world.call(world.follows.BatchGetFollowCounts, pb.BatchGetFollowCountsRequest(user_ids=asked))
    assert [(c.user_id, c.follower_count, c.followee_count) for c in counts.counts] == [
        *((999, 0, 0), (ANNA, 1, 0), (BEN, 0, 1), (ANNA, 1, 0))
    ]
    request = pb.BatchGetRelationsRequest(user_ids=asked)
    relations = (await world.call(world.follows.BatchGetRelations, request, BEN)).relations
    assert [(r.user_id, r.follows) for r in relations] == [(999, False), (ANNA, True), (BEN, False), (ANNA, True)]


async def test_more_ids_than_allowed_are_bad_input(world: GraphWorld) -> None:
    with pytest.raises(AppError) as caught:
        request = pb.BatchGetRelationsRequest(user_ids=range(1, 1002))
        await world.call(world.follows.BatchGetRelations, request, BEN)
    assert caught.value.violations[0].field == "user_ids"


async def test_the_viewer_graph_is_complete_and_from_truth(tmp_path: Any) -> None:
    async with open_graph_world(tmp_path, workers=False) as world:
        await follow(world, (ANNA, BEN), (ANNA, CLEO), (CLEO, ANNA))
        await world.call(world.follows.BlockUser, pb.BlockUserRequest(user_id=DAN), ANNA)
        await world.call(world.follows.BlockUser, pb.BlockUserRequest(user_id=ANNA), EVE)
        await world.call(world.follows.MuteUser, pb.MuteUserRequest(user_id=BEN), ANNA)
        graph = await world.call(world.follows.GetViewerGraph, pb.GetViewerGraphRequest(), ANNA)
    assert graph == pb.GetViewerGraphResponse(
        followee_ids=[CLEO, BEN], friend_ids=[CLEO], blocked_ids=[DAN, EVE], muted_ids=[BEN]
    )


async def test_follower_ids_are_for_services_alone_and_ascend(world: GraphWorld) -> None:
    await follow(world, (EVE, ANNA), (BEN, ANNA), (DAN, ANNA))
    await world.settle()
    request = pb.ListFollowerIdsRequest(user_id=ANNA, page_size=2)
    assert (await world.call(world.follows.ListFollowerIds, request, AS_SERVICE)).user_ids == [BEN, DAN]
    request = pb.ListFollowerIdsRequest(user_id=ANNA, page_size=2, after_id=DAN)
    assert (await world.call(world.follows.ListFollowerIds, request, AS_SERVICE)).user_ids == [EVE]
    with pytest.raises(AppError) as caught:
        await world.call(world.follows.ListFollowerIds, request, ANNA)
    assert caught.value.reason is Reason.FORBIDDEN


async def suggestions(world: GraphWorld, viewer: int, **page: Any) -> list[tuple[int, str, list[int]]]:
    answer = await world.call(world.follows.ListSuggestions, pb.ListSuggestionsRequest(**page), viewer)
    return [(s.user_id, pb.SuggestionReason.Name(s.reason)[18:], list(s.via_user_ids)) for s in answer.suggestions]


async def test_suggestions_come_best_first_each_with_a_true_reason(world: GraphWorld) -> None:
    await follow(world, (ANNA, BEN), (BEN, CLEO), (DAN, ANNA), (DAN, EVE))
    await world.settle()
    assert await suggestions(world, ANNA) == [
        (CLEO, "FRIENDS_FOLLOW", [BEN]),
        (DAN, "FOLLOWS_YOU", []),
        (EVE, "POPULAR", []),
    ]
    answer = await world.call(world.follows.ListSuggestions, pb.ListSuggestionsRequest(page_size=1), ANNA)
    rest = await suggestions(world, ANNA, page_token=answer.next_page_token)
    assert [user_id for user_id, _, _ in rest] == [DAN, EVE]
    with pytest.raises(AppError):
        await suggestions(world, BEN, page_token=answer.next_page_token)


async def test_blocked_muted_and_just_followed_accounts_are_not_suggested(world: GraphWorld) -> None:
    await follow(world, (ANNA, BEN), (BEN, CLEO), (BEN, DAN), (BEN, EVE))
    await world.settle()
    await world.call(world.follows.MuteUser, pb.MuteUserRequest(user_id=CLEO), ANNA)
    await world.call(world.follows.BlockUser, pb.BlockUserRequest(user_id=ANNA), DAN)
    await follow(world, (ANNA, EVE))
    assert await suggestions(world, ANNA) == []


async def all_edges(graph: FollowGraph) -> set[tuple[int, int, int]]:
    return {(a, n.user_id, n.since_id) for a in NAMES for n in await graph.followees(a, 0, 100)}


async def test_a_replay_of_the_whole_log_and_a_rebuild_change_nothing(world: GraphWorld, graph: FollowGraph) -> None:
    await follow(world, (BEN, ANNA), (CLEO, ANNA), (ANNA, BEN))
    await world.call(world.follows.UnfollowUser, pb.UnfollowUserRequest(user_id=ANNA), BEN)
    await world.call(world.follows.BlockUser, pb.BlockUserRequest(user_id=CLEO), ANNA)
    await world.settle()
    before = await all_edges(graph)
    await world.replay()
    assert await all_edges(graph) == before
    assert await world.service.rebuilds["follow_graph"]() == 1
    assert await all_edges(graph) == before


async def test_a_rebuild_repairs_what_was_lost_or_false(world: GraphWorld, graph: FollowGraph) -> None:
    await follow(world, (BEN, ANNA), (CLEO, ANNA), (ANNA, BEN))
    await world.settle()
    before = await all_edges(graph)
    assert len(before) == 3
    await graph.replace((0, 0), None, [Edge(EVE, ANNA, True, 9, 1), Edge(CLEO, ANNA, False, 9, 2)], 2**62)
    assert await all_edges(graph) == {(EVE, ANNA, 1)}
    await world.service.rebuilds["follow_graph"]()
    assert await all_edges(graph) == before
