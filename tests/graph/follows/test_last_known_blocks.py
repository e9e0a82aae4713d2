"""What visibility is decided by while the truth of blocks can't be read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from graph_svc.follows.stores.sql import SqlFollowStore
from reelgraph.graph.v1 import follows_pb2 as pb
from svc_kit.errors import AppError, Reason, unavailable
from tests.support.graph_world import ANNA, BEN, CLEO, GraphWorld, open_graph_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GraphWorld]:
    async with open_graph_world(tmp_path, workers=False) as world:
        yield world


@contextmanager
def truth_away() -> Iterator[None]:
    async def refuse(*_args: object) -> object:
        raise unavailable("The database can't be reached or is too busy.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqlFollowStore, "relations", refuse)
        yield


async def blocked(world: GraphWorld, viewer: int, *, last_known: bool = True) -> list[int] | None:
    """Whom a block keeps from the viewer, of the three; None: UNAVAILABLE."""
    others = [user for user in (ANNA, BEN, CLEO) if user != viewer]
    request = pb.BatchGetRelationsRequest(user_ids=others, last_known=last_known)
    try:
        answer = await world.call(world.follows.BatchGetRelations, request, viewer)
    except AppError as error:
        assert error.reason is Reason.UNAVAILABLE
        return None
    assert [relation.user_id for relation in answer.relations] == others
    return [relation.user_id for relation in answer.relations if relation.blocks or relation.blocked_by]


async def block(world: GraphWorld, blocker: int, blocked: int) -> None:
    await world.call(world.follows.BlockUser, pb.BlockUserRequest(user_id=blocked), blocker)


async def read_graph(world: GraphWorld, viewer: int) -> None:
    await world.call(world.follows.GetViewerGraph, pb.GetViewerGraphRequest(), viewer)


async def test_a_viewer_whose_feed_was_read_keeps_being_answered_and_others_are_not(world: GraphWorld) -> None:
    await block(world, CLEO, ANNA)
    world.clock.advance(1)
    await read_graph(world, ANNA)
    with truth_away():
        assert await blocked(world, ANNA) == [CLEO]
        assert await blocked(world, BEN) is None


async def test_who_asks_in_order_to_show_relations_gets_none_that_may_be_old(world: GraphWorld) -> None:
    await read_graph(world, ANNA)
    with truth_away():
        assert await blocked(world, ANNA, last_known=False) is None


async def test_a_block_set_since_makes_both_sides_unknown_until_they_are_read_again(world: GraphWorld) -> None:
    for viewer in (ANNA, BEN, CLEO):
        await read_graph(world, viewer)
    await block(world, ANNA, BEN)
    with truth_away():
        assert [await blocked(world, viewer) for viewer in (ANNA, BEN, CLEO)] == [None, None, []]
    world.clock.advance(1)
    await read_graph(world, BEN)
    with truth_away():
        assert [await blocked(world, viewer) for viewer in (ANNA, BEN)] == [None, [ANNA]]


async def test_a_lifted_block_is_forgotten_in_the_same_way(world: GraphWorld) -> None:
    await block(world, ANNA, BEN)
    world.clock.advance(1)
    await read_graph(world, ANNA)
    world.clock.advance(1)
    await world.call(world.follows.UnblockUser, pb.UnblockUserRequest(user_id=BEN), ANNA)
    with truth_away():
        assert await blocked(world, ANNA) is None
    world.clock.advance(1)
    await read_graph(world, ANNA)
    with truth_away():
        assert await blocked(world, ANNA) == []
