"""Follow, block and mute over a real server."""

from __future__ import annotations

from typing import Any

import pytest

from reelgraph.graph.v1 import follows_pb2 as pb
from svc_kit.errors import AppError, Reason, UserCode
from tests.support.graph_world import ANNA, BEN, CLEO, GraphWorld

KEY = "0123456789abcdef"


async def follow(world: GraphWorld, follower: int, followee: int, key: str = "") -> Any:
    return await world.call(world.follows.FollowUser, pb.FollowUserRequest(user_id=followee), follower, key)


async def relation(world: GraphWorld, viewer: int, other: int) -> pb.Relation:
    request = pb.BatchGetRelationsRequest(user_ids=[other])
    found: pb.Relation = (await world.call(world.follows.BatchGetRelations, request, viewer)).relations[0]
    return found


async def counts(world: GraphWorld, user_id: int, viewer: int = 0) -> tuple[int, int]:
    request = pb.BatchGetFollowCountsRequest(user_ids=[user_id])
    found = (await world.call(world.follows.BatchGetFollowCounts, request, viewer)).counts[0]
    return found.follower_count, found.followee_count


async def test_a_follow_answers_with_its_relation_and_count_before_the_graph_knows_it(world: GraphWorld) -> None:
    answer = await follow(world, BEN, ANNA)
    assert answer.relation == pb.Relation(user_id=ANNA, follows=True)
    assert answer.counts == pb.FollowCounts(user_id=ANNA, follower_count=1)
    await world.settle()
    assert await counts(world, ANNA) == (1, 0)
    assert await counts(world, BEN) == (0, 1)


async def test_following_again_changes_nothing_and_emits_nothing(world: GraphWorld) -> None:
    await follow(world, BEN, ANNA)
    await world.settle()
    assert (await follow(world, BEN, ANNA)).counts.follower_count == 1
    events = await world.events("follow")
    assert [(e.entity, e.entity_version, e.actor_id) for e in events] == [("follow:2:1", 1, BEN)]


async def test_unfollow_and_follow_raise_the_version_of_the_same_entity(world: GraphWorld) -> None:
    await follow(world, BEN, ANNA)
    answer = await world.call(world.follows.UnfollowUser, pb.UnfollowUserRequest(user_id=ANNA), BEN)
    assert (answer.relation.follows, answer.counts.follower_count) == (False, 0)
    await world.call(world.follows.UnfollowUser, pb.UnfollowUserRequest(user_id=ANNA), BEN)
    await follow(world, BEN, ANNA)
    assert [(e.WhichOneof("body"), e.entity_version) for e in await world.events("follow")] == [
        ("follow_created", 1),
        ("follow_deleted", 2),
        ("follow_created", 3),
    ]


async def test_a_block_ends_both_follows_with_events_of_their_own(world: GraphWorld) -> None:
    await follow(world, BEN, ANNA)
    await follow(world, ANNA, BEN)
    await world.settle()
    answer = await world.call(world.follows.BlockUser, pb.BlockUserRequest(user_id=BEN), ANNA)
    assert answer.relation == pb.Relation(user_id=BEN, blocks=True)
    assert (answer.counts.follower_count, answer.counts.followee_count) == (0, 0)
    assert await counts(world, ANNA, viewer=ANNA) == (0, 0)
    assert [e.WhichOneof("body") for e in await world.events("block")] == ["block_created"]
    ended = [(e.entity, e.entity_version) for e in await world.events("follow") if e.HasField("follow_deleted")]
    assert sorted(ended) == [("follow:1:2", 2), ("follow:2:1", 2)]
    await world.settle()
    assert await counts(world, ANNA) == (0, 0)


@pytest.mark.parametrize(("blocker", "blocked"), [(ANNA, BEN), (BEN, ANNA)])
async def test_a_blocked_account_can_not_be_followed_from_either_side(
    world: GraphWorld, blocker: int, blocked: int
) -> None:
    await world.call(world.follows.BlockUser, pb.BlockUserRequest(user_id=blocked), blocker)
    with pytest.raises(AppError) as caught:
        await follow(world, BEN, ANNA)
    assert (caught.value.reason, caught.value.violations[0].field) == (Reason.NOT_FOUND, "user_id")
    await world.call(world.follows.UnblockUser, pb.UnblockUserRequest(user_id=blocked), blocker)
    assert (await follow(world, BEN, ANNA)).relation.follows


async def test_mutes_show_in_relations_of_the_muter_alone(world: GraphWorld) -> None:
    answer = await world.call(world.follows.MuteUser, pb.MuteUserRequest(user_id=BEN), ANNA)
    assert answer.relation.mutes
    assert (await relation(world, ANNA, BEN)).mutes
    assert await relation(world, BEN, ANNA) == pb.Relation(user_id=ANNA)
    answer = await world.call(world.follows.UnmuteUser, pb.UnmuteUserRequest(user_id=BEN), ANNA)
    assert not answer.relation.mutes
    assert [e.WhichOneof("body") for e in await world.events("block")] == ["block_muted", "block_unmuted"]


async def test_the_blocked_side_does_not_learn_of_the_block_from_a_command(world: GraphWorld) -> None:
    await world.call(world.follows.BlockUser, pb.BlockUserRequest(user_id=BEN), ANNA)
    answer = await world.call(world.follows.MuteUser, pb.MuteUserRequest(user_id=ANNA), BEN)
    assert answer.relation == pb.Relation(user_id=ANNA, mutes=True)
    assert (await relation(world, BEN, ANNA)).blocked_by


async def test_the_same_idempotency_key_answers_as_at_first(world: GraphWorld) -> None:
    first = await follow(world, BEN, ANNA, KEY)
    await follow(world, CLEO, ANNA)
    await world.call(world.follows.UnfollowUser, pb.UnfollowUserRequest(user_id=ANNA), BEN)
    assert await follow(world, BEN, ANNA, KEY) == first
    assert not (await relation(world, BEN, ANNA)).follows
    with pytest.raises(AppError) as caught:
        await follow(world, BEN, CLEO, KEY)
    assert caught.value.user_code is UserCode.KEY_REUSED


@pytest.mark.parametrize("verb", ["Follow", "Unfollow", "Block", "Unblock", "Mute", "Unmute"])
@pytest.mark.parametrize(
    ("user_id", "reason", "code"),
    [
        (BEN, Reason.BAD_USER_INPUT, UserCode.INVALID),
        (0, Reason.BAD_USER_INPUT, UserCode.INVALID),
        (-7, Reason.BAD_USER_INPUT, UserCode.INVALID),
        (999, Reason.NOT_FOUND, UserCode.NOT_FOUND),
    ],
)
async def test_oneself_and_unknown_accounts_are_refused(
    world: GraphWorld, verb: str, user_id: int, reason: Reason, code: UserCode
) -> None:
    request = getattr(pb, f"{verb}UserRequest")(user_id=user_id)
    with pytest.raises(AppError) as caught:
        await world.call(getattr(world.follows, f"{verb}User"), request, BEN)
    assert (caught.value.reason, caught.value.violations[0].field, caught.value.user_code) == (reason, "user_id", code)
    assert await world.events("follow", "block") == []


async def test_nobody_can_follow_without_logging_in(world: GraphWorld) -> None:
    with pytest.raises(AppError) as caught:
        await follow(world, 0, ANNA)
    assert caught.value.reason is Reason.UNAUTHENTICATED
