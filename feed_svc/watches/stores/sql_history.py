"""Watch histories in a relational database: the embedded engine.

In the service's own database it is the table that `WatchTx.add` writes and that seen sets are read from: nothing is
ever waited for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, and_, case, or_, select

from feed_svc.watches.store import HistoryEntry, HistoryPlace, HistorySlice
from feed_svc.watches.stores.tables import watch_history
from svc_kit.clock import Clock
from svc_kit.db import Database, connect, upsert
from svc_kit.errors import invalid

_H = watch_history.c
ROWS_A_STATEMENT = 200
IDS_A_QUERY = 900


async def open(url: str, own: Database | None = None, *, clock: Clock, keep_days: int) -> SqlWatchHistory:
    """Histories in the database at `url`; `own` is used when given (the service's own, whose migrations made the
    table), else the table is made. Nothing is forgotten."""
    if own is not None:
        return SqlWatchHistory(own)
    db = connect(url)
    async with db.write() as connection:
        await connection.run_sync(watch_history.create, checkfirst=True)
    return SqlWatchHistory(db, close=True)


class SqlWatchHistory:
    """See `WatchHistory`."""

    def __init__(self, db: Database, *, close: bool = False) -> None:
        self._db = db
        self._close = close

    async def check(self) -> None:
        """Raises UNAVAILABLE when it can't be read."""
        await self._db.check()

    async def close(self) -> None:
        """Close the database, if it is this history's own."""
        if self._close:
            await self._db.close()

    async def append(self, watches: Sequence[tuple[int, HistoryEntry]]) -> None:
        last: dict[tuple[int, int], HistoryEntry] = {}
        for viewer_id, entry in watches:
            key = (viewer_id, entry.video_id)
            if key not in last or entry.watched_at_ms > last[key].watched_at_ms:
                last[key] = entry
        # In the order of the key, so that two writers can't deadlock.
        fresh = sorted(set(last) - await self._as_new(last))
        for start in range(0, len(fresh), ROWS_A_STATEMENT):
            rows = [_row(viewer_id, last[viewer_id, i]) for viewer_id, i in fresh[start : start + ROWS_A_STATEMENT]]
            async with self._db.write() as connection:
                statement = upsert(self._db, watch_history, rows, key=["user_id", "video_id"], update=_newer)
                await connection.execute(statement)

    async def _as_new(self, last: Mapping[tuple[int, int], HistoryEntry]) -> set[tuple[int, int]]:
        """What need not be written: embedded, that is everything."""
        by_viewer: dict[int, list[int]] = {}
        for viewer_id, video_id in last:
            by_viewer.setdefault(viewer_id, []).append(video_id)
        return {
            (viewer_id, video_id)
            for viewer_id, video_ids in by_viewer.items()
            for video_id, at_ms in (await self.last(viewer_id, video_ids)).items()
            if at_ms >= last[viewer_id, video_id].watched_at_ms
        }

    async def page(self, viewer_id: int, limit: int, after: HistoryPlace | None = None) -> HistorySlice:
        query = select(_H.video_id, _H.watched_at_ms, _H.watched_ms).where(_H.user_id == viewer_id)
        if after is not None:
            if after.state:
                raise invalid("page_token", "This cursor was made by another engine.")
            at_ms, video_id = after.key
            query = query.where(or_(_H.watched_at_ms < at_ms, and_(_H.watched_at_ms == at_ms, _H.video_id < video_id)))
        ordered = query.order_by(_H.watched_at_ms.desc(), _H.video_id.desc()).limit(limit + 1)
        found = [HistoryEntry(*row) for row in await self._rows(ordered)]
        return HistorySlice(found[:limit], more=len(found) > limit)

    async def last(self, viewer_id: int, video_ids: Sequence[int]) -> Mapping[int, int]:
        found: dict[int, int] = {}
        for start in range(0, len(video_ids), IDS_A_QUERY):
            some = video_ids[start : start + IDS_A_QUERY]
            query = select(_H.video_id, _H.watched_at_ms).where(_H.user_id == viewer_id, _H.video_id.in_(some))
            found |= {row.video_id: row.watched_at_ms for row in await self._rows(query)}
        return found

    async def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
        async with self._db.read() as connection:
            return (await connection.execute(query)).all()


def _row(viewer_id: int, entry: HistoryEntry) -> dict[str, int]:
    return {
        "user_id": viewer_id,
        "video_id": entry.video_id,
        "watched_at_ms": entry.watched_at_ms,
        "watched_ms": entry.watched_ms,
    }


def _newer(new: Any) -> Mapping[str, Any]:
    # MySQL assigns from left to right: the time that the other is chosen by comes last.
    names = ("watched_ms", "watched_at_ms")
    return {name: case((new.watched_at_ms > _H.watched_at_ms, new[name]), else_=_H[name]) for name in names}
