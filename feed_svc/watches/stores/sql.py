"""The watch log in a relational database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from feed_svc.watches.store import HistoryEntry, WatchRow
from feed_svc.watches.stores.tables import viewer_actions, watch_history, watches
from svc_kit.caller import Caller
from svc_kit.db import Database, after, insert_absent, upsert
from svc_kit.uow import SqlTx, UnitOfWork, begin

TOTALS_PAGE = 1000


async def note_action(connection: AsyncConnection, db: Database, user_id: int) -> None:
    """The viewer did something that changes their feed: their next page is ranked anew."""
    a = viewer_actions
    row = {"user_id": user_id, "version": 1}
    await connection.execute(upsert(db, a, row, key=["user_id"], update=lambda new: {"version": a.c.version + 1}))


class SqlWatchTx(SqlTx):
    """`WatchTx` in one connection."""

    async def add(self, row: WatchRow) -> bool:
        db = self.uow.db
        values = {name: getattr(row, name) for name in row.__slots__}
        values["hashtags"] = json.dumps(row.hashtags, ensure_ascii=False)
        known = select(watches.c.user_id).where(watches.c.user_id == row.user_id, watches.c.watch_id == row.watch_id)
        if (await self.connection.execute(known)).first():
            return False
        if not await insert_absent(db, self.connection, watches, values, key=["user_id", "watch_id"]):
            return False
        entry = {
            "user_id": row.user_id,
            "video_id": row.video_id,
            "watched_at_ms": row.at_ms,
            "watched_ms": row.watched_ms,
        }
        await self.connection.execute(
            upsert(db, watch_history, entry, key=["user_id", "video_id"], update=["watched_at_ms", "watched_ms"])
        )
        await note_action(self.connection, db, row.user_id)
        return True


class SqlWatchLog:
    """`WatchLog` over `watches` and `watch_history`."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[SqlWatchTx]:
        return begin(SqlWatchTx, self._uow, caller)

    async def known(self, user_id: int, watch_ids: Sequence[str]) -> frozenset[str]:
        query = select(watches.c.watch_id).where(watches.c.user_id == user_id, watches.c.watch_id.in_(watch_ids))
        async with self._uow.db.read() as connection:
            return frozenset((await connection.execute(query)).scalars())

    async def recent(self, user_id: int, limit: int) -> Sequence[HistoryEntry]:
        w = watches
        query = select(w.c.video_id, w.c.at_ms, w.c.watched_ms).where(w.c.user_id == user_id)
        async with self._uow.db.read() as connection:
            rows = await connection.execute(query.order_by(w.c.at_ms.desc()).limit(limit))
            return [HistoryEntry(*row) for row in rows]

    async def all(self) -> AsyncIterator[Sequence[tuple[int, HistoryEntry]]]:
        w, place = watches, (0, "")
        while True:
            query = select(w.c.user_id, w.c.watch_id, w.c.video_id, w.c.at_ms, w.c.watched_ms)
            query = query.where(after([w.c.user_id, w.c.watch_id], place)).order_by(w.c.user_id, w.c.watch_id)
            async with self._uow.db.read() as connection:
                rows = (await connection.execute(query.limit(TOTALS_PAGE))).all()
            yield [(row.user_id, HistoryEntry(row.video_id, row.at_ms, row.watched_ms)) for row in rows]
            if len(rows) < TOTALS_PAGE:
                return
            place = (rows[-1].user_id, rows[-1].watch_id)

    async def totals(self) -> AsyncIterator[tuple[int, int]]:
        w, after = watches, 0
        while True:
            query = select(w.c.video_id, func.count()).where(w.c.video_id > after).group_by(w.c.video_id)
            async with self._uow.db.read() as connection:
                rows = (await connection.execute(query.order_by(w.c.video_id).limit(TOTALS_PAGE))).all()
            for video_id, count in rows:
                yield video_id, count
            if len(rows) < TOTALS_PAGE:
                return
            after = rows[-1][0]
