"""What the graph's worker does with activity of viewers, and with follows that ended long ago."""

from __future__ import annotations

from typing import Any

import pytest

from graph_svc.follows.store import Edge, FollowGraph
from graph_svc.follows.stores.sql import SqlFollowStore
from graph_svc.follows.worker import FollowGraphHandler, Kept, prune_follow_graph, rebuild_follow_graph
from graph_svc.schema import outbox, replies
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.viewer_pb2 import ViewerActive
from reelgraph.graph.v1 import follows_pb2 as pb
from svc_kit.clock import now_ms
from svc_kit.errors import AppError, Reason
from svc_kit.rpc.client import AS_SERVICE
from svc_kit.uow import UnitOfWork
from tests.support.graph_world import ANNA, BEN, CLEO, DAN, GraphWorld

DAY_S = 24 * 3600


async def follow(world: GraphWorld, follower: int, followee: int) -> None:
    await world.call(world.follows.FollowUser, pb.FollowUserRequest(user_id=followee), follower)


async def unfollow(world: GraphWorld, follower: int, followee: int) -> None:
    await world.call(world.follows.UnfollowUser, pb.UnfollowUserRequest(user_id=followee), follower)


async def active(world: GraphWorld, user_id: int, at_ms: int) -> None:
    """They read a feed, as feed_svc says."""
    body = ViewerActive(user_id=user_id, active_at_ms=at_ms)
    event = Event(entity=f"viewer:{user_id}", entity_version=at_ms, viewer_active=body)
    event.id, event.actor_id = world.platform.ids.next(), user_id
    await world.publish("viewer", event)


async def follower_ids(world: GraphWorld, **asked: int) -> tuple[list[int], int]:
    request = pb.ListFollowerIdsRequest(user_id=ANNA, **asked)
    answer = await world.call(world.follows.ListFollowerIds, request, AS_SERVICE)
    return list(answer.user_ids), answer.next_after_id


async def known(world: GraphWorld, user_id: int, caller: Any = AS_SERVICE) -> int:
    request = pb.GetKnownActivityRequest(user_id=user_id)
    answer = await world.call(world.follows.GetKnownActivity, request, caller)
    return int(answer.active_at_ms)


def kept(world: GraphWorld) -> Kept:
    return Kept(world.clock, 30)


def truth(world: GraphWorld) -> SqlFollowStore:
    return SqlFollowStore(UnitOfWork(world.db, outbox, replies, world.platform.ids, world.clock))


async def test_fan_out_is_told_of_followers_who_read_a_feed_lately_or_of_whom_nothing_is_known(
    world: GraphWorld,
) -> None:
    start = now_ms(world.clock)
    for fan in (BEN, CLEO, DAN):
        await follow(world, fan, ANNA)
    # Late, twice and in the wrong order.
    for user_id, at_ms in ((BEN, start), (CLEO, start - 5000), (BEN, start - 9000), (CLEO, start - 5000)):
        await active(world, user_id, at_ms)
    await world.settle()
    since = {BEN: start, CLEO: start - 5000}
    assert await follower_ids(world, active_since_ms=start - 1) == ([BEN, DAN], 0)
    assert {user_id: await known(world, user_id) for user_id in since} == since
    assert await follower_ids(world) == ([BEN, CLEO, DAN], 0)
    assert await follower_ids(world, page_size=2) == ([BEN, CLEO], CLEO)


async def test_activity_is_no_viewers_business(world: GraphWorld) -> None:
    with pytest.raises(AppError) as caught:
        await known(world, BEN, ANNA)
    assert caught.value.reason in (Reason.FORBIDDEN, Reason.UNAUTHENTICATED)


async def test_an_event_that_comes_after_its_end_was_forgotten_brings_nothing_back(
    world: GraphWorld, graph: FollowGraph
) -> None:
    await follow(world, BEN, ANNA)
    await follow(world, CLEO, ANNA)
    await unfollow(world, BEN, ANNA)
    await world.settle()
    assert await prune_follow_graph(graph, kept(world)) == 0
    world.clock.advance(31 * DAY_S)
    # The service's own job may have been faster.
    await prune_follow_graph(graph, kept(world))
    assert await graph.prune(2**62, 10) == 0
    await world.replay()
    assert await follower_ids(world) == ([CLEO], 0)
    await follow(world, BEN, ANNA)
    await world.settle()
    assert await follower_ids(world) == ([BEN, CLEO], 0)


async def test_only_old_events_cost_a_look_at_truth(world: GraphWorld, graph: FollowGraph) -> None:
    await follow(world, BEN, ANNA)
    await world.settle()
    (event,) = await world.events("follow")

    class Counted(SqlFollowStore):
        asked = 0

        async def follows(self, keys: Any) -> Any:
            self.asked += 1
            return await super().follows(keys)

    store = Counted(truth(world)._uow)
    handler = FollowGraphHandler(graph, store, kept(world))
    envelope: Any = type("Envelope", (), {"event": event})
    await handler.handle([envelope])
    assert store.asked == 0
    world.clock.advance(31 * DAY_S)
    await handler.handle([envelope])
    assert store.asked == 1


async def test_a_rebuild_leaves_out_what_would_be_forgotten(world: GraphWorld, graph: FollowGraph) -> None:
    for fan in (BEN, CLEO):
        await follow(world, fan, ANNA)
    await unfollow(world, BEN, ANNA)
    await world.settle()
    world.clock.advance(31 * DAY_S)
    store = truth(world)
    assert await rebuild_follow_graph(store, graph, world.platform.ids, kept(world)) == 1
    assert await prune_follow_graph(graph, kept(world)) == 0
    assert await follower_ids(world) == ([CLEO], 0)


async def test_truth_answers_for_many_follows_at_once(idle_world: GraphWorld) -> None:
    world = idle_world
    await follow(world, BEN, ANNA)
    await follow(world, CLEO, ANNA)
    await unfollow(world, CLEO, ANNA)
    asked = [(BEN, ANNA), (CLEO, ANNA), (ANNA, BEN), *((i, 7) for i in range(1000, 1250))]
    found: list[Edge] = sorted(await truth(world).follows(asked), key=lambda edge: edge.from_id)
    assert [(edge.from_id, edge.active, edge.version) for edge in found] == [(BEN, True, 1), (CLEO, False, 2)]
    assert await truth(world).follows([]) == []
