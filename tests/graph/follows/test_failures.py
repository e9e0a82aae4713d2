"""What callers of FollowService see while the follow graph is down, and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from graph_svc.follows.wiring import OPEN_S
from reelgraph.graph.v1 import follows_pb2 as pb
from svc_kit.errors import AppError, Reason
from svc_kit.rpc.client import AS_SERVICE
from tests.graph.follows.conftest import emptied
from tests.support.clock import ticking
from tests.support.engines import server_url, servers
from tests.support.graph_world import ANNA, BEN, CLEO, GraphWorld, open_graph_world
from tests.support.relay import Relay, relay


@pytest.fixture
async def dead() -> AsyncIterator[Relay]:
    """In front of nothing."""
    async with relay("127.0.0.1", 1) as made:
        await made.cut()
        yield made


@pytest.fixture
async def world(tmp_path: Path, dead: Relay) -> AsyncIterator[GraphWorld]:
    async with open_graph_world(tmp_path, workers=False, graph_url=f"bolt://127.0.0.1:{dead.port}") as world:
        yield world


async def follow(world: GraphWorld, follower: int, followee: int) -> pb.FollowUserResponse:
    answer: pb.FollowUserResponse = await world.call(
        world.follows.FollowUser, pb.FollowUserRequest(user_id=followee), follower
    )
    return answer


def reads_of_the_graph(world: GraphWorld) -> dict[str, Any]:
    return {
        "followers": world.call(world.follows.ListFollowers, pb.ListFollowersRequest(user_id=ANNA), BEN),
        "others' followees": world.call(world.follows.ListFollowees, pb.ListFolloweesRequest(user_id=ANNA), BEN),
        "counts": world.call(
            world.follows.BatchGetFollowCounts, pb.BatchGetFollowCountsRequest(user_ids=[ANNA, BEN]), BEN
        ),
        "suggestions": world.call(world.follows.ListSuggestions, pb.ListSuggestionsRequest(), BEN),
        "ids": world.call(world.follows.ListFollowerIds, pb.ListFollowerIdsRequest(user_id=ANNA), AS_SERVICE),
    }


async def answered(world: GraphWorld) -> dict[str, bool]:
    """Which reads of the graph are answered; the others are UNAVAILABLE with a hint when to try again."""
    found = {}
    for name, read in reads_of_the_graph(world).items():
        try:
            await read
            found[name] = True
        except AppError as error:
            assert error.reason is Reason.UNAVAILABLE
            assert error.retry_after_ms
            assert "neo4j" not in error.message.lower()
            found[name] = False
    return found


@pytest.mark.parametrize("how", ["refuses", "hangs"])
async def test_commands_stand_and_truth_is_read_while_the_graph_is_down(
    world: GraphWorld, dead: Relay, how: str
) -> None:
    if how == "hangs":
        await dead.silence()
    answer = await follow(world, BEN, ANNA)
    assert answer.relation.follows
    assert not answer.HasField("counts")
    await world.call(world.follows.UnfollowUser, pb.UnfollowUserRequest(user_id=ANNA), BEN)
    await follow(world, BEN, CLEO)
    mine = await world.call(world.follows.ListFollowees, pb.ListFolloweesRequest(user_id=BEN), BEN)
    assert [entry.user_id for entry in mine.entries] == [CLEO]
    graph = await world.call(world.follows.GetViewerGraph, pb.GetViewerGraphRequest(), BEN)
    assert graph.followee_ids == [CLEO]
    relations = await world.call(world.follows.BatchGetRelations, pb.BatchGetRelationsRequest(user_ids=[CLEO]), BEN)
    assert relations.relations[0].follows


async def test_reads_of_a_dead_graph_are_unavailable_with_a_hint(world: GraphWorld) -> None:
    assert set((await answered(world)).values()) == {False}
    with pytest.raises(AppError) as caught:
        await world.service.checks["follow graph"]()
    assert caught.value.reason is Reason.UNAVAILABLE


async def test_a_hanging_graph_is_left_alone_after_a_few_have_waited_for_it(world: GraphWorld, dead: Relay) -> None:
    await dead.silence()
    first = [world.call(world.follows.ListFollowers, pb.ListFollowersRequest(user_id=ANNA), BEN) for _ in range(5)]
    outcomes = await asyncio.gather(*first, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [AppError] * 5
    asked = dead.accepted
    assert set((await answered(world)).values()) == {False}
    assert dead.accepted == asked
    world.clock.advance(OPEN_S + 1)
    assert set((await answered(world)).values()) == {False}
    assert dead.accepted > asked


@pytest.mark.parametrize("engine", servers("neo4j"))
async def test_a_graph_that_comes_back_catches_up_by_itself(tmp_path: Path, engine: str) -> None:
    parts = urlsplit(await emptied(server_url(engine)))
    async with relay(parts.hostname or "", parts.port or 7687) as middle:
        user = parts.netloc.rpartition("@")[0]
        url = f"bolt://{user}@127.0.0.1:{middle.port}"
        async with open_graph_world(tmp_path, graph_url=url) as world, ticking(world.clock):
            await follow(world, BEN, ANNA)
            await world.settle()
            await middle.cut()
            await follow(world, CLEO, ANNA)
            await world.call(world.follows.UnfollowUser, pb.UnfollowUserRequest(user_id=ANNA), BEN)
            assert (await answered(world))["followers"] is False
            await middle.mend()
            await world.settle()
            await until_answered(world)
            page = await world.call(world.follows.ListFollowers, pb.ListFollowersRequest(user_id=ANNA))
            assert [entry.user_id for entry in page.entries] == [CLEO]


async def until_answered(world: GraphWorld) -> None:
    async with asyncio.timeout(30):
        while not all((await answered(world)).values()):
            await asyncio.sleep(0.01)
