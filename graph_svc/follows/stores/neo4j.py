"""The follow graph in Neo4j. See `neo4j_cypher` for what lies there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from neo4j import AsyncManagedTransaction

from graph_svc.follows.store import Degree, Edge, FollowerPage, FriendOfFriend, Neighbour
from graph_svc.follows.stores import neo4j_cypher as cypher
from graph_svc.follows.stores.neo4j_schema import migrate, verify
from graph_svc.follows.stores.neo4j_server import Address, Server

__all__ = ["Neo4jFollowGraph", "migrate", "open", "verify"]

T = TypeVar("T")

BATCH: Final = 1000
"""Follows in one transaction."""
RANGE_PAGE: Final = 5000
MAX_FRIENDS: Final = 1000
MAX_VIA: Final = 10
LOOKED_AT: Final = 50_000
"""Followers that one page of active ones looks at, at most; a query looks at no more than the page may hold."""
POPULAR_FROM: Final = 100
"""With so many followers an account is among those that are looked through for the most followed."""
_END: Final = 2**63 - 1


async def open(url: str, own: object = None) -> Neo4jFollowGraph:
    """The graph at `url`; connects when it is first used."""
    return Neo4jFollowGraph(Server(Address.of(url)))


@dataclass(frozen=True, slots=True)
class _Held:
    """A follow as the graph has it."""

    active: bool
    version: int
    since: int


_Wins = Callable[[Edge, _Held], bool]


class _Missing(Exception):
    """Accounts that the graph has not heard of yet."""


class Neo4jFollowGraph:
    """See `FollowGraph`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    async def apply(self, edges: Sequence[Edge]) -> None:
        await self._take_over(edges, lambda edge, held: edge.version > held.version)

    async def replace(
        self, after: tuple[int, int], upto: tuple[int, int] | None, edges: Sequence[Edge], before_id: int
    ) -> None:
        kept = {(e.from_id, e.to_id) for e in edges}
        async for held in self._range(after, upto, before_id):
            for false in _batches([key for key in held if key not in kept], BATCH):
                await self._forget(false, before_id)
        await self._take_over(edges, lambda edge, held: edge.version > held.version or held.since < before_id)

    async def _range(
        self, after: tuple[int, int], upto: tuple[int, int] | None, before_id: int
    ) -> AsyncIterator[Sequence[tuple[int, int]]]:
        last = upto or (_END, _END)
        while True:
            between = {"after_from": after[0], "after_to": after[1], "upto_from": last[0], "upto_to": last[1]}
            parameters = between | {"before": before_id, "limit": RANGE_PAGE}
            found = (await self._server.read(cypher.RANGE, parameters, within_s=cypher.SCAN_S))[0][0]
            yield [(key[0], key[1]) for key in found]
            if len(found) < RANGE_PAGE:
                return
            after = (found[-1][0], found[-1][1])

    async def _forget(self, keys: Sequence[tuple[int, int]], before_id: int, *, ended_only: bool = False) -> int:
        async def work(tx: AsyncManagedTransaction) -> int:
            held = {key: h for key, h in (await _held(tx, keys)).items() if h is not None and h.since < before_id}
            if ended_only:
                held = {key: h for key, h in held.items() if not h.active}
            await _remove(tx, held)
            return len(held)

        return await self._server.write(work)

    async def prune(self, before_id: int, limit: int) -> int:
        parameters = {"before": before_id, "limit": min(limit, BATCH)}
        found = (await self._server.read(cypher.ENDED_BEFORE, parameters))[0][0]
        keys = sorted((key[0], key[1]) for key in found)
        return await self._forget(keys, before_id, ended_only=True) if keys else 0

    async def note_active(self, seen: Mapping[int, int]) -> None:
        for batch in _batches(sorted(seen.items()), BATCH):
            if not await self._note(batch):
                await self._add_accounts([user_id for user_id, _ in batch])
                await self._note(batch)

    async def _note(self, batch: Sequence[tuple[int, int]]) -> bool:
        """Whether the graph knows all of the accounts; otherwise nothing is done."""

        async def work(tx: AsyncManagedTransaction) -> bool:
            known = int((await _run(tx, cypher.LOCK, ids=[user_id for user_id, _ in batch]))[0][0])
            if known == len(batch):
                await _run(tx, cypher.NOTE_ACTIVE, seen=[list(one) for one in batch])
            return known == len(batch)

        return await self._server.write(work)

    async def active_at(self, user_id: int) -> int:
        rows = await self._server.read(cypher.ACTIVE_AT, {"id": user_id})
        return (rows[0][0] or 0) if rows else 0

    async def _take_over(self, edges: Sequence[Edge], wins: _Wins) -> None:
        for batch in _batches(_newest(edges), BATCH):
            try:
                await self._write(batch, wins)
            except _Missing:
                # In a transaction of its own: who creates an account locks it until the end, and everybody else who
                # follows a newcomer would wait for the rest of this batch too.
                await self._add_accounts(sorted({i for e in batch for i in (e.from_id, e.to_id)}))
                await self._write(batch, wins)

    async def _add_accounts(self, ids: Sequence[int]) -> None:
        async def work(tx: AsyncManagedTransaction) -> None:
            await _run(tx, cypher.ADD_ACCOUNTS, ids=ids)

        await self._server.write(work)

    async def _write(self, batch: Sequence[Edge], wins: _Wins) -> None:
        async def work(tx: AsyncManagedTransaction) -> None:
            held = await _held(tx, [(e.from_id, e.to_id) for e in batch])
            if len(held) < len(batch):
                raise _Missing
            changes = [(edge, held[edge.from_id, edge.to_id]) for edge in batch]
            await _change(tx, [(edge, old) for edge, old in changes if old is None or wins(edge, old)])

        await self._server.write(work)

    async def followers(self, user_id: int, before_id: int, limit: int) -> Sequence[Neighbour]:
        return await self._neighbours(cypher.FOLLOWERS, user_id, before_id, limit)

    async def followees(self, user_id: int, before_id: int, limit: int) -> Sequence[Neighbour]:
        return await self._neighbours(cypher.FOLLOWEES, user_id, before_id, limit)

    async def _neighbours(self, statement: Any, user_id: int, before_id: int, limit: int) -> Sequence[Neighbour]:
        parameters = {"id": user_id, "before": before_id or _END, "limit": limit}
        return [Neighbour(*pair) for pair in (await self._server.read(statement, parameters))[0][0]]

    async def follower_ids(self, user_id: int, after_id: int, limit: int) -> Sequence[int]:
        parameters = {"id": user_id, "after": after_id, "limit": limit}
        return list((await self._server.read(cypher.FOLLOWER_IDS, parameters))[0][0])

    async def active_follower_ids(self, user_id: int, after_id: int, limit: int, since_ms: int) -> FollowerPage:
        found: list[int] = []
        looked = 0
        # Half a page ends it: the last few would cost a query each.
        while 2 * len(found) < limit and looked < LOOKED_AT:
            most = min(limit - len(found), LOOKED_AT - looked)
            parameters = {"id": user_id, "after": after_id, "limit": most, "since": since_ms}
            count, last, active = (await self._server.read(cypher.ACTIVE_FOLLOWER_IDS, parameters))[0]
            found += active
            if count < most:
                return FollowerPage(found, 0)
            looked, after_id = looked + count, last
        return FollowerPage(found, after_id)

    async def degrees(
        self, user_ids: Sequence[int], viewer_id: int = 0, severed_ids: Sequence[int] = ()
    ) -> Mapping[int, Degree]:
        ids = sorted(set(user_ids))
        if not ids:
            return {}
        parameters = {"ids": ids, "viewer": viewer_id, "severed": sorted(set(severed_ids))}
        found = {row[0]: Degree(*row[1:]) for row in await self._server.read(cypher.DEGREES, parameters)}
        return {user_id: found.get(user_id, _NOBODY) for user_id in ids}

    async def mutuals(self, user_id: int, limit: int) -> Sequence[int]:
        return list((await self._server.read(cypher.MUTUALS, {"id": user_id, "limit": limit}))[0][0])

    async def friends_of_friends(self, viewer_id: int, limit: int) -> Sequence[FriendOfFriend]:
        parameters = {"viewer": viewer_id, "friends": MAX_FRIENDS, "limit": limit, "named": MAX_VIA}
        rows = await self._server.read(cypher.FRIENDS_OF_FRIENDS, parameters)
        return [FriendOfFriend(user_id, paths, tuple(sorted(via))) for user_id, paths, via in rows]

    async def popular(self, limit: int) -> Sequence[tuple[int, int]]:
        found = (await self._server.read(cypher.POPULAR, {"limit": limit}))[0][0]
        # Whoever has not been marked has fewer than these; twice, as two batches at once may both see one too few.
        if len(found) < limit or found[-1][1] < 2 * POPULAR_FROM:
            found = (await self._server.read(cypher.MOST_FOLLOWED, {"limit": limit}, within_s=cypher.SCAN_S))[0][0]
        return [(user_id, followers) for user_id, followers in found]


_NOBODY: Final = Degree()


async def _held(tx: AsyncManagedTransaction, keys: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], _Held | None]:
    """What there is of each follow, locked until the end; no entry where an account is missing."""
    rows = await _run(tx, cypher.HELD, keys=[list(key) for key in keys])
    found: dict[tuple[int, int], _Held | None] = {}
    for follower, followee, version, since, ended_version, ended_since in rows:
        if version is not None:
            found[follower, followee] = _Held(True, version, since)
        elif ended_version is not None:
            found[follower, followee] = _Held(False, ended_version, ended_since)
        else:
            found[follower, followee] = None
    return found


async def _change(tx: AsyncManagedTransaction, changes: Sequence[tuple[Edge, _Held | None]]) -> None:
    """Make each follow what the edge says, from what it was."""
    await _remove(tx, {(e.from_id, e.to_id): h for e, h in changes if h is not None and h.active != e.active})
    for active, create, renew in ((True, cypher.BEGIN, cypher.RENEW), (False, cypher.END, cypher.RENEW_ENDED)):
        alike = [(edge, held) for edge, held in changes if edge.active == active]
        new = [_row(e) for e, h in alike if h is None or h.active != active]
        other = [_row(e) for e, h in alike if h is not None and h.active == active and h != _as_held(e)]
        if new:
            await _run(tx, create, rows=new, popular=POPULAR_FROM)
        if other:
            await _run(tx, renew, rows=other)


async def _remove(tx: AsyncManagedTransaction, held: Mapping[tuple[int, int], _Held]) -> None:
    for active, statement in ((True, cypher.REMOVE), (False, cypher.REMOVE_ENDED)):
        keys = [list(key) for key, h in held.items() if h.active == active]
        if keys:
            await _run(tx, statement, keys=keys)


async def _run(tx: AsyncManagedTransaction, statement: Any, **parameters: Any) -> list[list[Any]]:
    return await (await tx.run(statement, parameters)).values()


def _newest(edges: Sequence[Edge]) -> list[Edge]:
    """One edge a key, the highest version of it, sorted: batches that overlap then lock accounts in one order."""
    best: dict[tuple[int, int], Edge] = {}
    for edge in edges:
        key = (edge.from_id, edge.to_id)
        if key not in best or edge.version > best[key].version:
            best[key] = edge
    return [best[key] for key in sorted(best)]


def _row(edge: Edge) -> list[int]:
    return [edge.from_id, edge.to_id, edge.version, edge.event_id]


def _as_held(edge: Edge) -> _Held:
    return _Held(edge.active, edge.version, edge.event_id)


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[i : i + size] for i in range(0, len(items), size))
