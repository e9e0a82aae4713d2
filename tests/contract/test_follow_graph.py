"""The contract of `FollowGraph`, for every adapter. Real servers by `REELGRAPH_TEST_GRAPH_URLS` (space-separated)."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from graph_svc.follows.store import Degree, Edge, FollowGraph, FriendOfFriend, Neighbour
from graph_svc.follows.stores import SCHEMES
from svc_kit.backends import resolve

SERVERS = [
    pytest.param(url, marks=pytest.mark.servers) for url in os.environ.get("REELGRAPH_TEST_GRAPH_URLS", "").split()
]
LATER = 2**62


@pytest.fixture(params=["sqlite", *SERVERS])
async def graph(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FollowGraph]:
    url = f"sqlite:///{tmp_path / 'graph.db'}" if request.param == "sqlite" else request.param
    opened = await resolve("REELGRAPH_GRAPH_URL", url, SCHEMES).open(url)
    await opened.replace((0, 0), None, [], LATER)
    yield opened
    await opened.close()


def edges(*pairs: tuple[int, int]) -> list[Edge]:
    return [Edge(a, b, True, 1, 1000 + i) for i, (a, b) in enumerate(pairs)]


async def test_lists_are_newest_first_and_end_where_asked(graph: FollowGraph) -> None:
    await graph.apply(edges((1, 9), (2, 9), (3, 9), (9, 1), (9, 2)))
    assert await graph.followers(9, 0, 2) == [Neighbour(3, 1002), Neighbour(2, 1001)]
    assert await graph.followers(9, 1001, 10) == [Neighbour(1, 1000)]
    assert await graph.followees(9, 0, 10) == [Neighbour(2, 1004), Neighbour(1, 1003)]
    assert await graph.followees(7, 0, 10) == []


async def test_follower_ids_ascend_from_where_asked(graph: FollowGraph) -> None:
    await graph.apply(edges((5, 9), (2, 9), (7, 9)))
    assert await graph.follower_ids(9, 0, 2) == [2, 5]
    assert await graph.follower_ids(9, 5, 2) == [7]


async def test_only_a_higher_version_is_applied(graph: FollowGraph) -> None:
    followed = Edge(1, 9, True, 1, 10)
    ended = Edge(1, 9, False, 2, 20)
    await graph.apply([ended])
    await graph.apply([followed])
    assert await graph.followers(9, 0, 10) == []
    await graph.apply([Edge(1, 9, True, 3, 30), ended])
    assert await graph.followers(9, 0, 10) == [Neighbour(1, 30)]


async def test_any_order_and_repetition_of_changes_ends_the_same(graph: FollowGraph) -> None:
    chance = random.Random(7)
    changes = [Edge(a, b, v % 2 == 1, v, v * 100 + a * 10 + b) for a in (1, 2) for b in (3, 4) for v in range(1, 6)]
    for _ in range(5):
        await graph.replace((0, 0), None, [], LATER)
        shuffled = chance.sample(changes * 2, len(changes) * 2)
        for i in range(0, len(shuffled), 7):
            await graph.apply(shuffled[i : i + 7])
        assert await graph.follower_ids(3, 0, 10) == [1, 2]
        assert await graph.followees(1, 0, 10) == [Neighbour(4, 514), Neighbour(3, 513)]


async def test_a_batch_may_be_large(graph: FollowGraph) -> None:
    await graph.apply(edges(*((i, 9) for i in range(10, 1510))))
    assert (await graph.degrees([9]))[9] == Degree(followers=1500)
    assert len(await graph.follower_ids(9, 0, 2000)) == 1500


async def test_degrees_say_what_they_include_of_the_viewers_edges(graph: FollowGraph) -> None:
    await graph.apply([*edges((1, 9), (2, 9), (9, 1), (3, 1)), Edge(4, 9, False, 2, 5)])
    assert await graph.degrees([9, 1, 7, 9], viewer_id=1) == {
        9: Degree(followers=2, followees=1, from_viewer=True, to_viewer=True),
        1: Degree(followers=2, followees=1),
        7: Degree(),
    }
    assert (await graph.degrees([9], 0, [2, 4, 5]))[9] == Degree(followers=2, followees=1, severed=1)
    assert await graph.degrees([]) == {}


async def test_mutuals_follow_each_other(graph: FollowGraph) -> None:
    await graph.apply([*edges((1, 2), (2, 1), (1, 3), (4, 1), (1, 5)), Edge(5, 1, False, 2, 9)])
    assert await graph.mutuals(1, 10) == [2]


async def test_friends_of_friends_by_number_of_paths_without_known_ones(graph: FollowGraph) -> None:
    await graph.apply(edges((1, 2), (1, 3), (2, 4), (3, 4), (3, 5), (2, 3), (2, 1), (5, 6)))
    assert await graph.friends_of_friends(1, 10) == [FriendOfFriend(4, 2, (2, 3)), FriendOfFriend(5, 1, (3,))]
    assert await graph.friends_of_friends(1, 1) == [FriendOfFriend(4, 2, (2, 3))]
    assert await graph.friends_of_friends(6, 10) == []


async def test_popular_accounts_have_the_most_followers(graph: FollowGraph) -> None:
    await graph.apply([*edges((1, 9), (2, 9), (1, 8), (2, 7)), Edge(3, 8, False, 2, 5)])
    assert await graph.popular(2) == [(9, 2), (7, 1)]


async def test_replace_makes_a_range_exactly_what_is_given(graph: FollowGraph) -> None:
    await graph.apply(edges((1, 1), (1, 5), (2, 2), (2, 9), (3, 1)))
    kept = Edge(2, 2, False, 1, 1002)
    added = Edge(1, 7, True, 4, 2000)
    await graph.replace((1, 1), (2, 9), [kept, added], LATER)
    assert await graph.followees(1, 0, 10) == [Neighbour(7, 2000), Neighbour(1, 1000)]
    assert await graph.followees(2, 0, 10) == []
    assert await graph.followees(3, 0, 10) == [Neighbour(1, 1004)]


async def test_replace_leaves_what_happened_since_it_began(graph: FollowGraph) -> None:
    stale = Edge(1, 2, True, 1, 100)
    await graph.apply([replace(stale, active=False, version=2, event_id=5000), Edge(1, 3, True, 1, 5001)])
    await graph.replace((0, 0), None, [stale], 4000)
    assert await graph.followees(1, 0, 10) == [Neighbour(3, 5001)]
