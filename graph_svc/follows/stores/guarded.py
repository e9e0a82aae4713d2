"""A follow graph that is left alone for a moment when it fails, so that nobody waits for a dead one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from graph_svc.follows.store import Degree, Edge, FollowerPage, FollowGraph, FriendOfFriend, Neighbour
from svc_kit.breaker import Breaker
from svc_kit.errors import AppError, Reason, unavailable

R = TypeVar("R")

READ_S: Final = 2.0


class GuardedFollowGraph:
    """`FollowGraph` whose reads go through a breaker. Writes don't: only the worker and a rebuild write, and both wait
    for the graph as long as it takes."""

    def __init__(self, inner: FollowGraph, breaker: Breaker, read_s: float = READ_S) -> None:
        self._inner = inner
        self._breaker = breaker
        self._read_s = read_s

    async def apply(self, edges: Sequence[Edge]) -> None:
        await self._inner.apply(edges)

    async def replace(
        self, after: tuple[int, int], upto: tuple[int, int] | None, edges: Sequence[Edge], before_id: int
    ) -> None:
        await self._inner.replace(after, upto, edges, before_id)

    async def prune(self, before_id: int, limit: int) -> int:
        return await self._inner.prune(before_id, limit)

    async def note_active(self, seen: Mapping[int, int]) -> None:
        await self._inner.note_active(seen)

    async def active_at(self, user_id: int) -> int:
        return await self._read(lambda: self._inner.active_at(user_id))

    async def followers(self, user_id: int, before_id: int, limit: int) -> Sequence[Neighbour]:
        return await self._read(lambda: self._inner.followers(user_id, before_id, limit))

    async def followees(self, user_id: int, before_id: int, limit: int) -> Sequence[Neighbour]:
        return await self._read(lambda: self._inner.followees(user_id, before_id, limit))

    async def follower_ids(self, user_id: int, after_id: int, limit: int) -> Sequence[int]:
        return await self._read(lambda: self._inner.follower_ids(user_id, after_id, limit))

    async def active_follower_ids(self, user_id: int, after_id: int, limit: int, since_ms: int) -> FollowerPage:
        return await self._read(lambda: self._inner.active_follower_ids(user_id, after_id, limit, since_ms))

    async def degrees(
        self, user_ids: Sequence[int], viewer_id: int = 0, severed_ids: Sequence[int] = ()
    ) -> Mapping[int, Degree]:
        return await self._read(lambda: self._inner.degrees(user_ids, viewer_id, severed_ids))

    async def mutuals(self, user_id: int, limit: int) -> Sequence[int]:
        return await self._read(lambda: self._inner.mutuals(user_id, limit))

    async def friends_of_friends(self, viewer_id: int, limit: int) -> Sequence[FriendOfFriend]:
        return await self._read(lambda: self._inner.friends_of_friends(viewer_id, limit))

    async def popular(self, limit: int) -> Sequence[tuple[int, int]]:
        return await self._read(lambda: self._inner.popular(limit))

    async def _read(self, body: Callable[[], Awaitable[R]]) -> R:
        try:
            return await self._breaker.call(body, deadline_s=self._read_s)
        except AppError as error:
            if error.reason is not Reason.DEADLINE_EXCEEDED:
                raise
            raise unavailable("The follow graph takes too long at the moment.") from error
