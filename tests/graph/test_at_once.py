"""Commands of one person that arrive at the same moment, on every relational engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from graph_svc.schema import metadata
from reelgraph.graph.v1.engagement_pb2 import AddCommentRequest, BatchGetVideoEngagementRequest, LikeVideoRequest
from reelgraph.graph.v1.follows_pb2 import BlockUserRequest, FollowUserRequest, UnfollowUserRequest
from tests.support.databases import DATABASES, common_url
from tests.support.graph_world import ANNA, BEN, CLEO, DAN, EVE, VIDEO, GraphWorld, open_graph_world

KEY = "at-once-0123456789"


@pytest.fixture(params=DATABASES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GraphWorld]:
    db_url = await common_url(request.param, tmp_path, "graph", metadata)
    async with open_graph_world(tmp_path, db_url=db_url) as world:
        yield world


async def test_a_follow_that_comes_many_times_at_once_is_one(world: GraphWorld) -> None:
    await asyncio.gather(
        *(world.call(world.follows.FollowUser, FollowUserRequest(user_id=ANNA), BEN) for _ in range(6))
    )
    assert len(await world.events("follow")) == 1
    calls = [FollowUserRequest(user_id=ANNA), UnfollowUserRequest(user_id=ANNA)] * 4
    methods = [world.follows.FollowUser, world.follows.UnfollowUser] * 4
    await asyncio.gather(*(world.call(method, call, BEN) for method, call in zip(methods, calls, strict=True)))
    events = await world.events("follow")
    # Each event is another version of the edge, and they alternate.
    assert [event.entity_version for event in events] == list(range(1, len(events) + 1))
    assert [event.WhichOneof("body") for event in events[:2]] in (
        ["follow_created"],
        ["follow_created", "follow_deleted"],
    )


async def test_the_same_command_under_one_key_is_done_once_and_answered_alike(world: GraphWorld) -> None:
    def comment() -> AddCommentRequest:
        return AddCommentRequest(video_id=VIDEO, text="hello", idempotency_key=KEY)

    answers = await asyncio.gather(*(world.call(world.engagement.AddComment, comment(), CLEO) for _ in range(6)))
    assert len({answer.SerializeToString() for answer in answers}) == 1
    assert len(await world.events("engagement")) == 1


async def test_likes_of_many_at_once_are_all_counted_once(world: GraphWorld) -> None:
    async def like(user_id: int) -> None:
        await world.call(world.engagement.LikeVideo, LikeVideoRequest(video_id=VIDEO), user_id)

    await asyncio.gather(*(like(user_id) for user_id in (ANNA, BEN, CLEO, DAN, EVE) * 3))
    await world.settle()
    asked = BatchGetVideoEngagementRequest(video_ids=[VIDEO])
    (found,) = (await world.call(world.engagement.BatchGetVideoEngagement, asked, BEN)).engagements
    assert (found.like_count, found.viewer_has_liked) == (5, True)
    assert len(await world.events("engagement")) == 5


async def test_two_who_block_each_other_at_once_both_do(world: GraphWorld) -> None:
    for one, other in ((BEN, CLEO), (CLEO, BEN)):
        await world.call(world.follows.FollowUser, FollowUserRequest(user_id=other), one)
    await asyncio.gather(
        world.call(world.follows.BlockUser, BlockUserRequest(user_id=CLEO), BEN),
        world.call(world.follows.BlockUser, BlockUserRequest(user_id=BEN), CLEO),
    )
    blocks = await world.events("block")
    assert sorted(event.actor_id for event in blocks) == [BEN, CLEO]
    ended = [event for event in await world.events("follow") if event.WhichOneof("body") == "follow_deleted"]
    assert sorted(event.actor_id for event in ended) == [BEN, CLEO]
