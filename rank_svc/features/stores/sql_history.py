"""Histories of viewers in a relational database: the embedded engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from rank_svc.features.history import lay
from rank_svc.features.store import MAX_HISTORY, Interaction
from rank_svc.features.stores import rows as mapping
from rank_svc.features.stores.sql_tx import among, chunks
from rank_svc.features.stores.tables import viewer_history
from svc_kit.clock import Clock
from svc_kit.db import Database, connect, upsert

_KEY = ("viewer_id", "video_id")
_H = viewer_history.c


async def open(url: str, own: Database | None = None, *, clock: Clock, keep_days: int) -> SqlHistoryStore:
    """Histories in the database at `url`; `own` is used when given (the service's own, whose migrations made the
    table), else the table is made. The newest MAX_HISTORY of a viewer are kept, however old."""
    if own is not None:
        return SqlHistoryStore(own)
    db = connect(url)
    async with db.write() as connection:
        await connection.run_sync(viewer_history.create, checkfirst=True)
    return SqlHistoryStore(db, close=True)


class SqlHistoryStore:
    """See `HistoryStore`."""

    def __init__(self, db: Database, *, close: bool = False) -> None:
        self._db = db
        self._close = close

    async def check(self) -> None:
        """Raises UNAVAILABLE when it can't be read."""
        await self._db.check()

    async def close(self) -> None:
        """Close the database, if it is this store's own."""
        if self._close:
            await self._db.close()

    async def append(self, made: Sequence[tuple[int, Interaction]]) -> None:
        pairs = sorted({(viewer_id, one.video_id) for viewer_id, one in made})

        async def write(connection: AsyncConnection) -> None:
            laid = await self._known(connection, pairs)
            for viewer_id, one in made:
                laid[viewer_id, one.video_id] = lay(laid.get((viewer_id, one.video_id)), one)
            written = [mapping.interaction_row(pair[0], laid[pair]) for pair in pairs]
            for some in chunks(written):
                columns = [name for name in some[0] if name not in _KEY]
                await connection.execute(upsert(self._db, viewer_history, some, key=_KEY, update=columns))
            for viewer_id in sorted({viewer_id for viewer_id, _ in pairs}):
                await _trim(connection, viewer_id)

        await self._db.transact(write)

    async def _known(
        self, connection: AsyncConnection, pairs: Sequence[tuple[int, int]]
    ) -> dict[tuple[int, int], Interaction]:
        found: dict[tuple[int, int], Interaction] = {}
        for some in chunks(pairs):
            query = select(viewer_history).where(among([_H.viewer_id, _H.video_id], some)).with_for_update()
            for row in (await connection.execute(query.order_by(_H.viewer_id, _H.video_id))).mappings():
                found[row["viewer_id"], row["video_id"]] = mapping.interaction(row)
        return found

    async def histories(self, viewer_ids: Collection[int], limit: int) -> Mapping[int, Sequence[Interaction]]:
        found: dict[int, list[Interaction]] = {}
        for some in chunks(sorted(viewer_ids)):
            query = select(viewer_history).where(_H.viewer_id.in_(some))
            query = query.order_by(_H.viewer_id, _H.at_ms.desc(), _H.video_id.desc())
            async with self._db.read() as connection:
                for row in (await connection.execute(query)).mappings():
                    history = found.setdefault(row["viewer_id"], [])
                    if len(history) < limit:
                        history.append(mapping.interaction(row))
        return found

    async def forget(self, viewer_id: int) -> None:
        async with self._db.write() as connection:
            await connection.execute(delete(viewer_history).where(_H.viewer_id == viewer_id))

    async def clear(self) -> None:
        async with self._db.write() as connection:
            await connection.execute(delete(viewer_history))


async def _trim(connection: AsyncConnection, viewer_id: int) -> None:
    count = await connection.scalar(select(func.count()).select_from(viewer_history).where(_H.viewer_id == viewer_id))
    if count is None or count <= MAX_HISTORY:
        return
    oldest = select(_H.video_id).where(_H.viewer_id == viewer_id).order_by(_H.at_ms, _H.video_id)
    dropped = (await connection.scalars(oldest.limit(count - MAX_HISTORY))).all()
    await connection.execute(delete(viewer_history).where(_H.viewer_id == viewer_id, _H.video_id.in_(dropped)))
