"""The contract of `FollowGraph`, for every adapter: SQLite, and the servers that the environment names."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from graph_svc.follows.store import Degree, Edge, FollowerPage, FollowGraph, FriendOfFriend, Neighbour
from graph_svc.follows.stores import SCHEMES
from svc_kit.backends import migrate, resolve
from tests.support.databases import DATABASES, fresh_database
from tests.support.engines import server_url, servers

SETTING = "REELGRAPH_GRAPH_URL"
LATER = 2**62


@pytest.fixture(params=[*DATABASES, *servers("neo4j")])
async def graph(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FollowGraph]:
    async with AsyncExitStack() as stack:
        if request.param == "neo4j":
            url = server_url(request.param)
        else:
            url = await stack.enter_async_context(fresh_database(request.param, tmp_path))
        await migrate(SETTING, url, SCHEMES)
        opened = await resolve(SETTING, url, SCHEMES).open(url)
        stack.push_async_callback(opened.close)
        await opened.replace((0, 0), None, [], LATER)
        yield opened


@pytest.fixture
def unused() -> range:
    """Ids of accounts of which nothing has been heard: activity outlives the follows that `replace` removes."""
    first = time.time_ns() // 1000
    return range(first, first + 100_000)


async def active_followers(graph: FollowGraph, user_id: int, limit: int, since_ms: int) -> list[int]:
    """All pages; each within its limit, and the last one says so."""
    found: list[int] = []
    after_id = 0
    while True:
        page = await graph.active_follower_ids(user_id, after_id, limit, since_ms)
        assert len(page.user_ids) <= limit
        assert all(after_id < i for i in page.user_ids)
        found += page.user_ids
        if not page.upto_id:
            return found
        assert page.upto_id > after_id
        after_id = page.upto_id


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


async def test_an_ended_follow_keeps_its_version_and_counts_nowhere(graph: FollowGraph) -> None:
    await graph.apply([*edges((2, 9), (3, 9)), Edge(1, 9, True, 5, 50)])
    await graph.apply([Edge(1, 9, False, 6, 60)])
    await graph.apply([Edge(1, 9, True, 5, 50), Edge(1, 9, True, 4, 40)])
    assert (await graph.degrees([9], 1))[9] == Degree(followers=2)
    assert await graph.follower_ids(9, 0, 10) == [2, 3]
    assert await graph.followees(1, 0, 10) == []
    await graph.apply([Edge(1, 9, False, 8, 80)])
    await graph.apply([Edge(1, 9, True, 7, 70)])
    assert await graph.followers(9, 0, 1) == [Neighbour(3, 1001)]


async def test_a_follow_whose_end_was_missed_is_as_new_as_its_last_beginning(graph: FollowGraph) -> None:
    await graph.apply(edges((1, 9), (2, 9)))
    await graph.apply([Edge(1, 9, True, 3, 3000)])
    assert await graph.followers(9, 0, 10) == [Neighbour(1, 3000), Neighbour(2, 1001)]
    assert await graph.followees(1, 0, 10) == [Neighbour(9, 3000)]


async def test_writers_of_overlapping_batches_end_with_the_newest_of_each(graph: FollowGraph) -> None:
    chance = random.Random(3)
    people = range(1, 9)
    changes = [
        Edge(a, b, (v + a + b) % 2 == 1, v, v * 1000 + a * 10 + b) for a in people for b in people for v in range(1, 5)
    ]

    async def write(batches: list[list[Edge]]) -> None:
        for batch in batches:
            await graph.apply(batch)

    shuffled = [chance.sample(changes, len(changes)) for _ in range(6)]
    await asyncio.gather(*(write([order[i : i + 40] for i in range(0, len(order), 40)]) for order in shuffled))
    expected = {(e.from_id, e.to_id): e.event_id for e in changes if e.version == 4 and e.active}
    found = {(a, n.user_id): n.since_id for a in people for n in await graph.followees(a, 0, 100)}
    assert found == expected
    degrees = await graph.degrees(list(people))
    assert {b: degrees[b].followers for b in people} == {b: sum(to == b for _, to in expected) for b in people}


async def test_many_who_follow_one_account_at_once_are_all_counted(graph: FollowGraph) -> None:
    fans = [Edge(i, 9, True, 1, i) for i in range(100, 500)]
    await asyncio.gather(*(graph.apply(fans[i : i + 20]) for i in range(0, len(fans), 20)))
    assert (await graph.degrees([9]))[9].followers == 400
    assert await graph.follower_ids(9, 0, 1000) == [e.from_id for e in fans]


async def test_pages_of_ten_thousand_followers_neither_repeat_nor_skip(graph: FollowGraph) -> None:
    order = random.Random(5).sample(range(10_000, 20_000), 10_000)
    await graph.apply([Edge(user_id, 9, True, 1, 1 + at) for at, user_id in enumerate(order)])
    listed: list[int] = []
    before = 0
    while page := await graph.followers(9, before, 1700):
        listed += [n.user_id for n in page]
        before = page[-1].since_id
    assert listed == order[::-1]
    ids: list[int] = []
    while found := await graph.follower_ids(9, ids[-1] if ids else 0, 3000):
        ids += found
    assert ids == sorted(order)
    assert (await graph.degrees([9]))[9] == Degree(followers=10_000)


async def test_the_most_followed_are_found_among_accounts_with_hundreds_of_followers(graph: FollowGraph) -> None:
    await graph.apply([Edge(i, b, True, 1, i) for b in (7, 8, 9) for i in range(1000, 1100 + 100 * b)])
    assert await graph.popular(2) == [(9, 1000), (8, 900)]
    assert await graph.popular(10) == [(9, 1000), (8, 900), (7, 800)]
    await graph.apply([Edge(i, 9, False, 2, i + 5000) for i in range(1000, 1950)])
    assert await graph.popular(10) == [(8, 900), (7, 800), (9, 50)]


async def test_replacing_everything_while_events_are_applied_loses_neither(graph: FollowGraph) -> None:
    truth = [Edge(a, b, True, 1, 100 + a) for a in range(1, 41) for b in (50, 51, 52)]
    await graph.apply([*truth, Edge(7, 99, True, 1, 5), Edge(8, 50, False, 2, 6)])
    events = [Edge(a, 50, False, 2, 5000 + a) for a in range(1, 41, 2)] + edges(*((a, 60) for a in range(1, 41)))
    events = [replace(e, event_id=max(e.event_id, 5000)) for e in events]

    async def rebuild() -> None:
        for i in range(0, len(truth), 30):
            page = truth[i : i + 30]
            after = (truth[i - 1].from_id, truth[i - 1].to_id) if i else (0, 0)
            upto = (page[-1].from_id, page[-1].to_id) if i + 30 < len(truth) else None
            await graph.replace(after, upto, page, 4000)

    async def work() -> None:
        for i in range(0, len(events), 5):
            await graph.apply(events[i : i + 5])

    await asyncio.gather(rebuild(), work())
    assert await graph.follower_ids(50, 0, 100) == list(range(2, 41, 2))
    assert await graph.follower_ids(51, 0, 100) == list(range(1, 41))
    assert await graph.follower_ids(60, 0, 100) == list(range(1, 41))
    assert await graph.follower_ids(99, 0, 100) == []


async def test_replace_keeps_versions_of_ended_follows(graph: FollowGraph) -> None:
    await graph.replace((0, 0), None, [Edge(1, 9, False, 4, 40), *edges((2, 9))], LATER)
    await graph.apply([Edge(1, 9, True, 3, 30)])
    assert await graph.follower_ids(9, 0, 10) == [2]
    await graph.replace((0, 0), None, [], LATER)
    await graph.apply([Edge(1, 9, True, 3, 30)])
    assert await graph.follower_ids(9, 0, 10) == [1]


async def test_replace_forgets_more_than_it_is_given(graph: FollowGraph) -> None:
    await graph.apply([Edge(a, 9, True, 1, 10) for a in range(1, 12_001)])
    await graph.replace((100, 0), (11_900, 9), [Edge(500, 9, True, 1, 10)], LATER)
    assert await graph.follower_ids(9, 0, 20_000) == [*range(1, 100), 500, *range(11_901, 12_001)]


async def test_followers_by_activity_are_those_since_then_and_those_of_whom_nothing_is_known(
    graph: FollowGraph, unused: range
) -> None:
    a, b, c, d, star = unused[:5]
    await graph.apply(edges((a, star), (b, star), (c, star), (d, star), (a, b)))
    await graph.note_active({a: 1000, b: 2000, d: 999})
    assert await active_followers(graph, star, 10, 1000) == [a, b, c]
    assert await active_followers(graph, star, 10, 2001) == [c]
    assert await active_followers(graph, star, 1, 1000) == [a, b, c]
    assert await graph.active_follower_ids(star, c, 10, 999) == FollowerPage([d], 0)
    await graph.apply([Edge(b, star, False, 2, 5000)])
    assert await active_followers(graph, star, 10, 1000) == [a, c]
    assert await graph.follower_ids(star, 0, 10) == [a, c, d]


async def test_the_greatest_activity_counts_in_any_order_and_also_before_the_first_follow(
    graph: FollowGraph, unused: range
) -> None:
    a, b, star = unused[:3]
    assert await graph.active_at(a) == 0
    await graph.note_active({b: 70, a: 50})
    for at_ms in (90, 60, 90, 10):
        await graph.note_active({a: at_ms})
    assert (await graph.active_at(a), await graph.active_at(b)) == (90, 70)
    await graph.note_active({})
    await graph.apply(edges((a, star), (b, star)))
    assert await active_followers(graph, star, 10, 90) == [a]


async def test_activity_outlives_a_rebuild_of_the_follows(graph: FollowGraph, unused: range) -> None:
    a, star = unused[:2]
    await graph.note_active({a: 50})
    await graph.apply(edges((a, star)))
    await graph.replace((0, 0), None, edges((a, star)), LATER)
    assert await graph.active_at(a) == 50


async def test_writers_of_activity_at_once_end_with_the_greatest(graph: FollowGraph, unused: range) -> None:
    people = unused[:60]
    told = [{i: 1000 + (i * 7 + n * 13) % 100 for i in people} for n in range(10)]
    await asyncio.gather(*map(graph.note_active, told))
    assert [await graph.active_at(i) for i in people] == [max(seen[i] for seen in told) for i in people]


async def test_pages_of_few_active_among_many_followers_neither_repeat_nor_skip(
    graph: FollowGraph, unused: range
) -> None:
    star, fans = unused[0], unused[1:6001]
    await graph.apply([Edge(i, star, True, 1, 1 + n) for n, i in enumerate(fans)])
    await graph.note_active({i: 5000 if n % 20 == 7 or 3000 < n < 3100 else 10 for n, i in enumerate(fans)})
    active = [i for n, i in enumerate(fans) if n % 20 == 7 or 3000 < n < 3100]
    for limit in (100, 1000, 7000):
        assert await active_followers(graph, star, limit, 4000) == active
    assert await active_followers(graph, star, 1000, 6000) == []
    assert await active_followers(graph, star, 1000, 10) == list(fans)


async def test_pruning_forgets_old_ends_alone_a_bounded_number_at_a_time(graph: FollowGraph) -> None:
    ended = [Edge(a, 9, False, 2, 100 + a) for a in range(1, 8)]
    await graph.apply([*ended, Edge(20, 9, True, 1, 50), Edge(21, 9, False, 4, 500)])
    assert [await graph.prune(200, 3) for _ in range(4)] == [3, 3, 1, 0]
    await graph.apply([Edge(20, 9, True, 1, 50), Edge(21, 9, True, 3, 60)])
    assert await graph.follower_ids(9, 0, 10) == [20]
    # Their versions are forgotten: this is why whoever applies older changes takes them from truth.
    await graph.apply([Edge(1, 9, True, 1, 101)])
    assert await graph.follower_ids(9, 0, 10) == [1, 20]


async def test_pruning_beside_writers_loses_no_newer_end(graph: FollowGraph) -> None:
    people = range(1, 201)
    await graph.apply([Edge(a, 9, False, 2, a) for a in people])

    async def write() -> None:
        for i in range(0, len(people), 10):
            await graph.apply([Edge(a, 9, False, 4, 5000 + a) for a in people[i : i + 10]])

    async def prune() -> None:
        for _ in range(30):
            await graph.prune(1000, 10)

    await asyncio.gather(write(), prune(), prune())
    await graph.apply([Edge(a, 9, True, 3, 4000 + a) for a in people])
    assert await graph.follower_ids(9, 0, 1000) == []
