"""Follows, blocks and mutes."""

from __future__ import annotations

from typing import Any, TypeVar

import strawberry

from gateway import ids
from gateway.context import Info
from gateway.mutations.answers import KeyedInput, Payload, answers, number_in
from gateway.types.fields import mutation
from gateway.types.user import User
from reelgraph.graph.v1 import follows_pb2
from svc_kit.errors import not_found


@strawberry.input(description="An account.")
class UserInput(KeyedInput):
    """Never in the schema itself."""

    user_id: strawberry.ID = strawberry.field(description="The account.")


@strawberry.type(description="An account after a change.")
class UserPayload(Payload):
    """Never in the schema itself."""

    user: User | None = strawberry.field(default=None, description="The account, its numbers with this change.")


@strawberry.input(description="Input of followUser.")
class FollowUserInput(UserInput):
    """Whom to follow."""


@strawberry.input(description="Input of unfollowUser.")
class UnfollowUserInput(UserInput):
    """Whom to follow no longer."""


@strawberry.input(description="Input of blockUser.")
class BlockUserInput(UserInput):
    """Whom to block."""


@strawberry.input(description="Input of unblockUser.")
class UnblockUserInput(UserInput):
    """Whom to block no longer."""


@strawberry.input(description="Input of muteUser.")
class MuteUserInput(UserInput):
    """Whom to mute."""


@strawberry.input(description="Input of unmuteUser.")
class UnmuteUserInput(UserInput):
    """Whom to mute no longer."""


@strawberry.type(description="Answer of followUser.")
class FollowUserPayload(UserPayload):
    """The account, followed."""


@strawberry.type(description="Answer of unfollowUser.")
class UnfollowUserPayload(UserPayload):
    """The account, no longer followed."""


@strawberry.type(description="Answer of blockUser.")
class BlockUserPayload(UserPayload):
    """The account, blocked."""


@strawberry.type(description="Answer of unblockUser.")
class UnblockUserPayload(UserPayload):
    """The account, no longer blocked."""


@strawberry.type(description="Answer of muteUser.")
class MuteUserPayload(UserPayload):
    """The account, muted."""


@strawberry.type(description="Answer of unmuteUser.")
class UnmuteUserPayload(UserPayload):
    """The account, no longer muted."""


@strawberry.type
class FollowMutations:
    """Each may be repeated: what is so already changes nothing."""

    @mutation("Follows an account. Following again changes nothing.")
    @answers(FollowUserPayload)
    async def follow_user(self, info: Info, input: FollowUserInput) -> FollowUserPayload:
        stub = info.context.clients.follows
        return await _change(info, stub.FollowUser, follows_pb2.FollowUserRequest(), input, FollowUserPayload)

    @mutation("Ends a follow. None there: nothing changes.")
    @answers(UnfollowUserPayload)
    async def unfollow_user(self, info: Info, input: UnfollowUserInput) -> UnfollowUserPayload:
        stub = info.context.clients.follows
        return await _change(info, stub.UnfollowUser, follows_pb2.UnfollowUserRequest(), input, UnfollowUserPayload)

    @mutation("Blocks an account, both ways, and ends both follows.")
    @answers(BlockUserPayload)
    async def block_user(self, info: Info, input: BlockUserInput) -> BlockUserPayload:
        stub = info.context.clients.follows
        return await _change(info, stub.BlockUser, follows_pb2.BlockUserRequest(), input, BlockUserPayload)

    @mutation("Lifts a block. None there: nothing changes.")
    @answers(UnblockUserPayload)
    async def unblock_user(self, info: Info, input: UnblockUserInput) -> UnblockUserPayload:
        stub = info.context.clients.follows
        return await _change(info, stub.UnblockUser, follows_pb2.UnblockUserRequest(), input, UnblockUserPayload)

    @mutation("Hides an account's videos and notifications from the viewer alone.")
    @answers(MuteUserPayload)
    async def mute_user(self, info: Info, input: MuteUserInput) -> MuteUserPayload:
        stub = info.context.clients.follows
        return await _change(info, stub.MuteUser, follows_pb2.MuteUserRequest(), input, MuteUserPayload)

    @mutation("Lifts a mute. None there: nothing changes.")
    @answers(UnmuteUserPayload)
    async def unmute_user(self, info: Info, input: UnmuteUserInput) -> UnmuteUserPayload:
        stub = info.context.clients.follows
        return await _change(info, stub.UnmuteUser, follows_pb2.UnmuteUserRequest(), input, UnmuteUserPayload)


T = TypeVar("T", bound=UserPayload)


async def _change(info: Info, method: Any, request: Any, input: UserInput, payload: type[T]) -> T:
    """All six commands take and answer alike; the answer's relation and numbers are shown as they came."""
    number = number_in(ids.Kind.USER, input.user_id, "user_id")
    request.user_id, request.idempotency_key = number, input.key()
    answer: follows_pb2.FollowUserResponse = await info.context.rpc(method, request)
    loaders = info.context.loaders
    if answer.HasField("relation"):
        loaders.relations.prime(number, answer.relation)
    if answer.HasField("counts"):
        loaders.follow_counts.prime(number, answer.counts)
    user = await loaders.users.load(number)
    if user is None:
        raise not_found("user_id", "user")
    return payload(user=user)
