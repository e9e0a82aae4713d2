"""Activity of accounts beside the follow graph in a relational database, and followers by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import case, select

from graph_svc.follows.store import FollowerPage
from graph_svc.follows.stores.tables import graph_activity, graph_edges
from svc_kit.db import Database, upsert

BATCH = 400
_A = graph_activity.c
_G = graph_edges.c


async def note_active(db: Database, seen: Mapping[int, int]) -> None:
    """See `FollowGraph.note_active`."""
    rows = [{"user_id": user_id, "active_at_ms": at_ms} for user_id, at_ms in sorted(seen.items())]
    for i in range(0, len(rows), BATCH):
        statement = upsert(db, graph_activity, rows[i : i + BATCH], key=["user_id"], update=_greater)

        async def write(connection: Any, statement: Any = statement) -> None:
            await connection.execute(statement)

        await db.transact(write)


def _greater(new: Any) -> Mapping[str, Any]:
    later = new.active_at_ms > _A.active_at_ms
    return {"active_at_ms": case((later, new.active_at_ms), else_=_A.active_at_ms)}


async def active_at(db: Database, user_id: int) -> int:
    """See `FollowGraph.active_at`."""
    async with db.read() as connection:
        found = (await connection.execute(select(_A.active_at_ms).where(_A.user_id == user_id))).scalar_one_or_none()
    return found or 0


async def active_follower_ids(db: Database, user_id: int, after_id: int, limit: int, since_ms: int) -> FollowerPage:
    """See `FollowGraph.active_follower_ids`: looks at `limit` followers."""
    query = (
        select(_G.follower_id, _A.active_at_ms)
        .outerjoin(graph_activity, _A.user_id == _G.follower_id)
        .where(_G.followee_id == user_id, _G.active, _G.follower_id > after_id)
        .order_by(_G.follower_id)
        .limit(limit)
    )
    async with db.read() as connection:
        rows = (await connection.execute(query)).all()
    found = [row.follower_id for row in rows if row.active_at_ms is None or row.active_at_ms >= since_ms]
    return FollowerPage(found, rows[-1].follower_id if len(rows) == limit else 0)
