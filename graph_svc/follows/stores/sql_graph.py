"""The follow graph in tables of a relational database: the embedded engine."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Insert, and_, case, delete, func, literal, not_, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from graph_svc.follows.store import Degree, Edge, FollowerPage, FriendOfFriend, Neighbour
from graph_svc.follows.stores import sql_activity
from graph_svc.follows.stores.tables import graph_activity, graph_edges, graph_ended
from svc_kit.db import Database, connect, upsert
from svc_kit.db import after as rows_after

BATCH = 500
KEYS_A_DELETE = 100
MAX_FRIENDS = 1000
MAX_VIA = 10
_KEY = ("follower_id", "followee_id")
_G = graph_edges.c


async def open(url: str, own: Database | None = None) -> SqlFollowGraph:
    """The graph in the database at `url`; `own` is used when given (the service's own, whose migrations made the
    tables), else the tables are made."""
    if own is not None:
        return SqlFollowGraph(own)
    db = connect(url)
    async with db.write() as connection:
        for made in (graph_edges, graph_activity, graph_ended):
            await connection.run_sync(functools.partial(made.create, checkfirst=True))
    return SqlFollowGraph(db, close=True)


class SqlFollowGraph:
    """See `FollowGraph`."""

    def __init__(self, db: Database, *, close: bool = False) -> None:
        self._db = db
        self._close = close

    async def close(self) -> None:
        """Close the database, if it is this graph's own."""
        if self._close:
            await self._db.close()

    async def apply(self, edges: Sequence[Edge]) -> None:
        for batch in _batches(_newest(edges)):
            statement = upsert(self._db, graph_edges, [_row(e) for e in batch], key=_KEY, update=_if_newer)
            await self._db.transact(functools.partial(_execute, statement))

    async def replace(
        self, after: tuple[int, int], upto: tuple[int, int] | None, edges: Sequence[Edge], before_id: int
    ) -> None:
        key = (_G.follower_id, _G.followee_id)
        inside = [rows_after(key, after), _G.event_id < before_id]
        if upto is not None:
            inside += [_G.follower_id <= upto[0], not_(rows_after(key, upto))]
        kept = {(e.from_id, e.to_id) for e in edges}

        def unless_later(new: Any) -> Mapping[str, Any]:
            return _change(new, or_(new.version > _G.version, _G.event_id < before_id))

        async with self._db.write() as connection:
            held = (await connection.execute(select(_G.follower_id, _G.followee_id).where(*inside))).all()
            for row in held:
                if tuple(row) not in kept:
                    await connection.execute(
                        delete(graph_edges).where(_G.follower_id == row.follower_id, _G.followee_id == row.followee_id)
                    )
            for batch in _batches(_newest(edges)):
                rows = [_row(e) for e in batch]
                await connection.execute(upsert(self._db, graph_edges, rows, key=_KEY, update=unless_later))

    async def prune(self, before_id: int, limit: int) -> int:
        old = select(_G.follower_id, _G.followee_id).where(not_(_G.active), _G.event_id < before_id)
        async with self._db.read() as connection:
            keys = (await connection.execute(old.order_by(_G.event_id).limit(limit))).all()

        async def remove(connection: AsyncConnection) -> int:
            count = 0
            for i in range(0, len(keys), KEYS_A_DELETE):
                named = [and_(_G.follower_id == a, _G.followee_id == b) for a, b in sorted(keys[i : i + KEYS_A_DELETE])]
                still = (not_(_G.active), _G.event_id < before_id)
                count += (await connection.execute(delete(graph_edges).where(or_(*named), *still))).rowcount
            return count

        return await self._db.transact(remove) if keys else 0

    async def note_active(self, seen: Mapping[int, int]) -> None:
        await sql_activity.note_active(self._db, seen)

    async def active_at(self, user_id: int) -> int:
        return await sql_activity.active_at(self._db, user_id)

    async def followers(self, user_id: int, before_id: int, limit: int) -> Sequence[Neighbour]:
        return await self._neighbours(_G.followee_id == user_id, _G.follower_id, before_id, limit)

    async def followees(self, user_id: int, before_id: int, limit: int) -> Sequence[Neighbour]:
        return await self._neighbours(_G.follower_id == user_id, _G.followee_id, before_id, limit)

    async def _neighbours(
        self, near: ColumnElement[bool], far: ColumnElement[int], before_id: int, limit: int
    ) -> list[Neighbour]:
        query = select(far.label("user_id"), _G.event_id).where(near, _G.active)
        if before_id:
            query = query.where(_G.event_id < before_id)
        async with self._db.read() as connection:
            rows = await connection.execute(query.order_by(_G.event_id.desc()).limit(limit))
            return [Neighbour(row.user_id, row.event_id) for row in rows]

    async def follower_ids(self, user_id: int, after_id: int, limit: int) -> Sequence[int]:
        query = select(_G.follower_id).where(_G.followee_id == user_id, _G.active, _G.follower_id > after_id)
        async with self._db.read() as connection:
            return list((await connection.execute(query.order_by(_G.follower_id).limit(limit))).scalars())

    async def active_follower_ids(self, user_id: int, after_id: int, limit: int, since_ms: int) -> FollowerPage:
        return await sql_activity.active_follower_ids(self._db, user_id, after_id, limit, since_ms)

    async def degrees(
        self, user_ids: Sequence[int], viewer_id: int = 0, severed_ids: Sequence[int] = ()
    ) -> Mapping[int, Degree]:
        ids = sorted(set(user_ids))
        if not ids:
            return {}
        severed = case((_G.follower_id.in_(severed_ids), 1), else_=0) if severed_ids else literal(0)
        incoming = _degree("in", _G.followee_id, ids, case((_G.follower_id == viewer_id, 1), else_=0), severed)
        outgoing = _degree("out", _G.follower_id, ids, case((_G.followee_id == viewer_id, 1), else_=0), literal(0))
        # One statement sees one moment: the numbers and the viewer's edges in them must not disagree.
        async with self._db.read() as connection:
            rows = (await connection.execute(union_all(incoming, outgoing))).all()
        ins = {row.user_id: row for row in rows if row.side == "in"}
        outs = {row.user_id: row for row in rows if row.side == "out"}
        return {
            user_id: Degree(
                followers=int(ins[user_id].edges) if user_id in ins else 0,
                followees=int(outs[user_id].edges) if user_id in outs else 0,
                from_viewer=bool(user_id in ins and ins[user_id].viewers),
                to_viewer=bool(user_id in outs and outs[user_id].viewers),
                severed=int(ins[user_id].severed) if user_id in ins else 0,
            )
            for user_id in ids
        }

    async def mutuals(self, user_id: int, limit: int) -> Sequence[int]:
        back = graph_edges.alias("back")
        query = (
            select(_G.followee_id)
            .join(back, (back.c.follower_id == _G.followee_id) & (back.c.followee_id == user_id) & back.c.active)
            .where(_G.follower_id == user_id, _G.active)
        )
        async with self._db.read() as connection:
            return list((await connection.execute(query.order_by(_G.followee_id).limit(limit))).scalars())

    async def friends_of_friends(self, viewer_id: int, limit: int) -> Sequence[FriendOfFriend]:
        friends = [n.user_id for n in await self.followees(viewer_id, 0, MAX_FRIENDS)]
        if not friends:
            return []
        known = select(_G.followee_id).where(_G.follower_id == viewer_id, _G.active)
        second = graph_edges.alias("second")
        paths = func.count().label("paths")
        query = (
            select(second.c.followee_id.label("user_id"), paths)
            .where(second.c.follower_id.in_(friends), second.c.active, second.c.followee_id != viewer_id)
            .where(second.c.followee_id.not_in(known))
            .group_by(second.c.followee_id)
            .order_by(paths.desc(), second.c.followee_id)
            .limit(limit)
        )
        async with self._db.read() as connection:
            found = (await connection.execute(query)).all()
            via = await connection.execute(
                select(_G.followee_id, _G.follower_id)
                .where(_G.follower_id.in_(friends), _G.followee_id.in_([row.user_id for row in found]), _G.active)
                .order_by(_G.event_id.desc())
            )
            newest: dict[int, list[int]] = {}
            for row in via:
                if len(names := newest.setdefault(row.followee_id, [])) < MAX_VIA:
                    names.append(row.follower_id)
        return [FriendOfFriend(r.user_id, int(r.paths), tuple(sorted(newest.get(r.user_id, ())))) for r in found]

    async def popular(self, limit: int) -> Sequence[tuple[int, int]]:
        followers = func.count().label("followers")
        query = (
            select(_G.followee_id, followers)
            .where(_G.active)
            .group_by(_G.followee_id)
            .order_by(followers.desc(), _G.followee_id)
            .limit(limit)
        )
        async with self._db.read() as connection:
            return [(row.followee_id, int(row.followers)) for row in await connection.execute(query)]


async def _execute(statement: Insert, connection: AsyncConnection) -> None:
    await connection.execute(statement)


def _degree(
    side: str, of: ColumnElement[int], ids: Sequence[int], viewers: ColumnElement[int], severed: ColumnElement[int]
) -> Any:
    return (
        select(
            literal(side).label("side"),
            of.label("user_id"),
            func.count().label("edges"),
            func.max(viewers).label("viewers"),
            func.sum(severed).label("severed"),
        )
        .where(of.in_(ids), _G.active)
        .group_by(of)
    )


def _if_newer(new: Any) -> Mapping[str, Any]:
    return _change(new, new.version > _G.version)


def _change(new: Any, condition: ColumnElement[bool]) -> Mapping[str, Any]:
    # MySQL assigns from left to right: what the condition reads comes last.
    names = ("active", "event_id", "version")
    return {name: case((condition, new[name]), else_=_G[name]) for name in names}


def _newest(edges: Sequence[Edge]) -> list[Edge]:
    """One edge a key, the highest version of it, sorted: batches that overlap then lock rows in one order."""
    best: dict[tuple[int, int], Edge] = {}
    for edge in edges:
        key = (edge.from_id, edge.to_id)
        if key not in best or edge.version > best[key].version:
            best[key] = edge
    return [best[key] for key in sorted(best)]


def _batches(edges: Sequence[Edge]) -> Iterator[Sequence[Edge]]:
    return (edges[i : i + BATCH] for i in range(0, len(edges), BATCH))


def _row(edge: Edge) -> dict[str, Any]:
    return {
        "follower_id": edge.from_id,
        "followee_id": edge.to_id,
        "active": edge.active,
        "version": edge.version,
        "event_id": edge.event_id,
    }
