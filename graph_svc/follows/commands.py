"""Everything that changes follows, blocks and mutes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.message import Message

from graph_svc.follows.blocks import KnownBlocks
from graph_svc.follows.counting import FollowCounts, counts_of
from graph_svc.follows.store import Accounts, Degree, Edge, EdgeKind, FollowGraph, FollowStore, FollowTx, Relation
from reelgraph.events.v1 import follow_pb2 as events
from svc_kit.caller import Caller
from svc_kit.errors import AppError, Reason, invalid, not_found
from svc_kit.uow import UnitOfWork, idempotent

COUNTS_S: Final = 1.0
"""How long a command waits for the numbers that its answer shows, before it goes on without."""


@dataclass(frozen=True, slots=True)
class FollowResult:
    """How the caller stands to the account after a command, and the account's numbers with it."""

    relation: Relation
    counts: FollowCounts | None
    """None while the graph can't be reached: the command stands all the same."""


class FollowCommands:
    """Follow, block and mute, each way. Oneself: BAD_USER_INPUT; no such account: NOT_FOUND, both on `user_id`."""

    def __init__(
        self, store: FollowStore, graph: FollowGraph, accounts: Accounts, blocks: KnownBlocks, replies: UnitOfWork
    ) -> None:
        self._store = store
        self._blocks = blocks
        self._graph = graph
        self._accounts = accounts
        self.replies = replies

    @idempotent
    async def follow_user(self, caller: Caller, user_id: int) -> FollowResult:
        """Follow an account; NOT_FOUND when a block stands between."""
        viewer, degree = await self._prepare(caller, user_id, "follow")
        async with self._store.begin(caller) as tx:
            if (await tx.relation(viewer, user_id)).blocked:
                raise not_found("user_id", "account")
            await _turn(tx, EdgeKind.FOLLOW, viewer, user_id, True)
            return await self._reply(tx, viewer, user_id, degree)

    @idempotent
    async def unfollow_user(self, caller: Caller, user_id: int) -> FollowResult:
        """End a follow."""
        viewer, degree = await self._prepare(caller, user_id, "unfollow")
        async with self._store.begin(caller) as tx:
            await _turn(tx, EdgeKind.FOLLOW, viewer, user_id, False)
            return await self._reply(tx, viewer, user_id, degree)

    @idempotent
    async def block_user(self, caller: Caller, user_id: int) -> FollowResult:
        """Block an account and end both follows."""
        viewer, degree = await self._prepare(caller, user_id, "block")
        async with self._store.begin(caller) as tx:
            await _turn(tx, EdgeKind.BLOCK, viewer, user_id, True)
            await _turn(tx, EdgeKind.FOLLOW, viewer, user_id, False)
            await _turn(tx, EdgeKind.FOLLOW, user_id, viewer, False)
            result = await self._reply(tx, viewer, user_id, degree)
        await self._blocks.changed(viewer, user_id)
        return result

    @idempotent
    async def unblock_user(self, caller: Caller, user_id: int) -> FollowResult:
        """Lift a block. Follows do not come back."""
        result = await self._turn_one(caller, user_id, EdgeKind.BLOCK, "unblock", False)
        await self._blocks.changed(caller.viewer(), user_id)
        return result

    @idempotent
    async def mute_user(self, caller: Caller, user_id: int) -> FollowResult:
        """Hide an account from the caller alone."""
        return await self._turn_one(caller, user_id, EdgeKind.MUTE, "mute", True)

    @idempotent
    async def unmute_user(self, caller: Caller, user_id: int) -> FollowResult:
        """Lift a mute."""
        return await self._turn_one(caller, user_id, EdgeKind.MUTE, "unmute", False)

    async def _turn_one(self, caller: Caller, user_id: int, kind: EdgeKind, verb: str, active: bool) -> FollowResult:
        viewer, degree = await self._prepare(caller, user_id, verb)
        async with self._store.begin(caller) as tx:
            await _turn(tx, kind, viewer, user_id, active)
            return await self._reply(tx, viewer, user_id, degree)

    async def _prepare(self, caller: Caller, user_id: int, verb: str) -> tuple[int, Degree | None]:
        viewer = caller.viewer()
        if user_id == viewer:
            raise invalid("user_id", f"You can't {verb} yourself.")
        if not await self._accounts.existing([user_id]):
            raise not_found("user_id", "account")
        return viewer, await self._degree(user_id, viewer)

    async def _degree(self, user_id: int, viewer: int) -> Degree | None:
        try:
            async with asyncio.timeout(COUNTS_S):
                return (await self._graph.degrees([user_id], viewer))[user_id]
        except TimeoutError:
            return None
        except AppError as error:
            if error.reason is not Reason.UNAVAILABLE:
                raise
            return None

    async def _reply(self, tx: FollowTx, viewer: int, user_id: int, degree: Degree | None) -> FollowResult:
        relation = await tx.relation(viewer, user_id)
        counts = None if degree is None else counts_of(degree, relation)
        # That they block the caller is not the caller's to know.
        return await tx.reply(FollowResult(replace(relation, blocked_by=False), counts))


async def _turn(tx: FollowTx, kind: EdgeKind, from_id: int, to_id: int, active: bool) -> None:
    edge = await tx.edge(kind, from_id, to_id)
    if (edge is not None and edge.active) == active:
        return
    version = 1 if edge is None else edge.version + 1
    # The key is whose edge it is, also when a block of the other side ends it: one edge's events stay in order.
    body = _event(kind, from_id, to_id, active)
    event_id = tx.emit(entity=f"{kind}:{from_id}:{to_id}", version=version, actor_id=from_id, **body)
    await tx.put(kind, Edge(from_id, to_id, active, version, event_id))


def _event(kind: EdgeKind, a: int, b: int, active: bool) -> dict[str, Message]:
    match kind, active:
        case EdgeKind.FOLLOW, True:
            return {"follow_created": events.FollowCreated(follower_id=a, followee_id=b)}
        case EdgeKind.FOLLOW, False:
            return {"follow_deleted": events.FollowDeleted(follower_id=a, followee_id=b)}
        case EdgeKind.BLOCK, True:
            return {"block_created": events.BlockCreated(blocker_id=a, blocked_id=b)}
        case EdgeKind.BLOCK, False:
            return {"block_deleted": events.BlockDeleted(blocker_id=a, blocked_id=b)}
        case EdgeKind.MUTE, True:
            return {"block_muted": events.BlockMuted(muter_id=a, muted_id=b)}
        case _:
            return {"block_unmuted": events.BlockUnmuted(muter_id=a, muted_id=b)}
