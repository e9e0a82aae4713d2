"""The truth of follows, blocks and mutes in the service's database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from graph_svc.follows.store import Edge, EdgeKind, Neighbour, Relation
from graph_svc.follows.stores.tables import blocks, follows, mutes
from svc_kit.caller import Caller
from svc_kit.db import after, insert_new, upsert
from svc_kit.uow import SqlTx, UnitOfWork, begin

KEYS_A_QUERY = 100
_Ends = tuple[Table, ColumnElement[int], ColumnElement[int]]
_TABLES: dict[EdgeKind, _Ends] = {
    EdgeKind.FOLLOW: (follows, follows.c.follower_id, follows.c.followee_id),
    EdgeKind.BLOCK: (blocks, blocks.c.blocker_id, blocks.c.blocked_id),
    EdgeKind.MUTE: (mutes, mutes.c.muter_id, mutes.c.muted_id),
}


class SqlFollowTx(SqlTx):
    """See `FollowTx`."""

    def __init__(self, connection: AsyncConnection, uow: UnitOfWork, caller: Caller) -> None:
        super().__init__(connection, uow, caller)
        # No lock can be had on a row that is not there: whoever found none inserts it, or meets who was faster.
        self._absent: set[tuple[EdgeKind, int, int]] = set()

    async def edge(self, kind: EdgeKind, from_id: int, to_id: int) -> Edge | None:
        row = (await self.connection.execute(_edge(kind, from_id, to_id).with_for_update())).one_or_none()
        if row is None:
            self._absent.add((kind, from_id, to_id))
            return None
        return _to_edge(row)

    async def put(self, kind: EdgeKind, edge: Edge) -> None:
        table, from_column, to_column = _TABLES[kind]
        row = {
            str(from_column.key): edge.from_id,
            str(to_column.key): edge.to_id,
            "active": edge.active,
            "version": edge.version,
            "event_id": edge.event_id,
        }
        if (kind, edge.from_id, edge.to_id) in self._absent:
            self._absent.discard((kind, edge.from_id, edge.to_id))
            await insert_new(self.connection, table, [row])
            return
        key = [column.name for column in table.primary_key]
        await self.connection.execute(
            upsert(self.uow.db, table, row, key=key, update=["active", "version", "event_id"])
        )

    async def relation(self, viewer_id: int, user_id: int) -> Relation:
        return (await _relations(self.connection, viewer_id, [user_id]))[user_id]


class SqlFollowStore:
    """See `FollowStore`."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[SqlFollowTx]:
        return begin(SqlFollowTx, self._uow, caller)

    async def relations(self, viewer_id: int, user_ids: Sequence[int]) -> Mapping[int, Relation]:
        async with self._uow.db.read() as connection:
            return await _relations(connection, viewer_id, user_ids)

    async def follow(self, follower_id: int, followee_id: int) -> Edge | None:
        async with self._uow.db.read() as connection:
            row = (await connection.execute(_edge(EdgeKind.FOLLOW, follower_id, followee_id))).one_or_none()
        return None if row is None else _to_edge(row)

    async def followees(self, user_id: int, before_id: int, limit: int) -> Sequence[Neighbour]:
        f = follows.c
        query = select(f.followee_id, f.event_id).where(f.follower_id == user_id, f.active)
        if before_id:
            query = query.where(f.event_id < before_id)
        async with self._uow.db.read() as connection:
            rows = await connection.execute(query.order_by(f.event_id.desc()).limit(limit))
            return [Neighbour(row.followee_id, row.event_id) for row in rows]

    async def followee_count(self, user_id: int) -> int:
        query = select(func.count()).where(follows.c.follower_id == user_id, follows.c.active)
        async with self._uow.db.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def blocking(self, user_id: int) -> frozenset[int]:
        return await self._ids(select(blocks.c.blocked_id).where(blocks.c.blocker_id == user_id, blocks.c.active))

    async def blocked_by(self, user_id: int) -> frozenset[int]:
        return await self._ids(select(blocks.c.blocker_id).where(blocks.c.blocked_id == user_id, blocks.c.active))

    async def muting(self, user_id: int) -> frozenset[int]:
        return await self._ids(select(mutes.c.muted_id).where(mutes.c.muter_id == user_id, mutes.c.active))

    async def _ids(self, query: Select[int]) -> frozenset[int]:
        async with self._uow.db.read() as connection:
            return frozenset((await connection.execute(query)).scalars())

    async def follows(self, keys: Sequence[tuple[int, int]]) -> Sequence[Edge]:
        _, from_column, to_column = _TABLES[EdgeKind.FOLLOW]
        found: list[Edge] = []
        async with self._uow.db.read() as connection:
            for i in range(0, len(keys), KEYS_A_QUERY):
                wanted = [and_(from_column == a, to_column == b) for a, b in keys[i : i + KEYS_A_QUERY]]
                rows = await connection.execute(_edges(EdgeKind.FOLLOW).where(or_(*wanted)))
                found += [_to_edge(row) for row in rows]
        return found

    async def follows_after(self, key: tuple[int, int], limit: int) -> Sequence[Edge]:
        _, from_column, to_column = _TABLES[EdgeKind.FOLLOW]
        query = _edges(EdgeKind.FOLLOW).where(after((from_column, to_column), key))
        async with self._uow.db.read() as connection:
            rows = await connection.execute(query.order_by(from_column, to_column).limit(limit))
            return [_to_edge(row) for row in rows]


def _edges(kind: EdgeKind) -> Select[*tuple[Any, ...]]:
    table, from_column, to_column = _TABLES[kind]
    return select(
        from_column.label("from_id"), to_column.label("to_id"), table.c.active, table.c.version, table.c.event_id
    )


def _edge(kind: EdgeKind, from_id: int, to_id: int) -> Select[*tuple[Any, ...]]:
    _, from_column, to_column = _TABLES[kind]
    return _edges(kind).where(from_column == from_id, to_column == to_id)


def _to_edge(row: Row[*tuple[Any, ...]]) -> Edge:
    return Edge(row.from_id, row.to_id, bool(row.active), row.version, row.event_id)


def _relations_statement() -> CompoundSelect[int, str]:
    outgoing = {EdgeKind.FOLLOW: "follows", EdgeKind.BLOCK: "blocks", EdgeKind.MUTE: "mutes"}
    incoming = {EdgeKind.FOLLOW: "followed_by", EdgeKind.BLOCK: "blocked_by"}
    viewer: BindParameter[int] = bindparam("viewer")
    ids: BindParameter[int] = bindparam("ids", expanding=True)
    parts = []
    for kind, field in outgoing.items():
        table, from_column, to_column = _TABLES[kind]
        part = select(to_column.label("user_id"), literal(field).label("field"))
        parts.append(part.where(from_column == viewer, to_column.in_(ids), table.c.active))
    for kind, field in incoming.items():
        table, from_column, to_column = _TABLES[kind]
        part = select(from_column.label("user_id"), literal(field).label("field"))
        parts.append(part.where(to_column == viewer, from_column.in_(ids), table.c.active))
    return union_all(*parts)


# Asked for with every page of a feed: building it costs more than running it.
_RELATIONS = _relations_statement()


async def _relations(connection: AsyncConnection, viewer_id: int, user_ids: Sequence[int]) -> dict[int, Relation]:
    """One statement, so that all five answers are of one moment."""
    ids = sorted(set(user_ids))
    if not ids or not viewer_id:
        return {user_id: Relation(user_id) for user_id in ids}
    found: dict[int, dict[str, bool]] = {user_id: {} for user_id in ids}
    for row in await connection.execute(_RELATIONS, {"viewer": viewer_id, "ids": ids}):
        found[row.user_id][row.field] = True
    return {user_id: Relation(user_id, **fields) for user_id, fields in found.items()}
