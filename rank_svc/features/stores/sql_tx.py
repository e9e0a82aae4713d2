"""Writing features in SQL: counts are added under row locks in the order of ids, so two writers can't deadlock."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Table, and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from rank_svc.features.decay import join
from rank_svc.features.store import Changes, VideoState, Viewer
from rank_svc.features.stores import rows as mapping
from rank_svc.features.stores import tables as t
from svc_kit.db import Database, insert_new, upsert

# SQLite takes at most 32766 parameters a statement.
CHUNK = 500


def chunks(items: Collection[Any]) -> list[list[Any]]:
    """`items` in lists short enough for one statement."""
    listed = list(items)
    return [listed[i : i + CHUNK] for i in range(0, len(listed), CHUNK)]


class SqlFeatureTx:
    """See `FeatureTx`."""

    def __init__(self, db: Database, connection: AsyncConnection) -> None:
        self._db = db
        self._connection = connection

    async def claim(self, keys: Mapping[int, int]) -> set[int]:
        c = t.counted_events.c
        fresh = set(keys)
        for some in chunks(keys):
            fresh -= set((await self._connection.scalars(select(c.key).where(c.key.in_(some)))).all())
        if fresh:
            rows = [{"key": key, "at_ms": keys[key]} for key in sorted(fresh)]
            await insert_new(self._connection, t.counted_events, rows)
        return fresh

    async def videos(self, ids: Collection[int]) -> Mapping[int, VideoState]:
        found: dict[int, VideoState] = {}
        for some in chunks(sorted(ids)):
            query = select(t.videos).where(t.videos.c.video_id.in_(some)).order_by(t.videos.c.video_id)
            result = await self._connection.execute(query.with_for_update())
            found |= {row["video_id"]: mapping.state(row) for row in result.mappings()}
        return found

    async def put_videos(self, states: Sequence[VideoState]) -> None:
        await self._put(t.videos, [mapping.state_row(state) for state in states], ("video_id",))

    async def _put(self, table: Table, rows: Sequence[dict[str, Any]], key: Sequence[str]) -> None:
        for some in chunks(rows):
            columns = [name for name in some[0] if name not in key]
            await self._connection.execute(upsert(self._db, table, some, key=key, update=columns))

    async def add(self, changes: Changes) -> None:
        await self._add_rows(
            t.video_stats, ("video_id",), {(i,): _as_dict(stats) for i, stats in changes.videos.items()}
        )
        await self._add_rows(
            t.length_buckets, ("bucket",), {(i,): _as_dict(stats) for i, stats in changes.buckets.items()}
        )
        await self._add_rows(
            t.author_stats, ("author_id",), {(i,): {"followers": n} for i, n in changes.followers.items() if n}
        )
        await self._add_rows(
            t.video_slices, ("video_id", "slice"), {pair: {"heat": heat} for pair, heat in changes.slices.items()}
        )

    async def _add_rows(
        self, table: Table, key: Sequence[str], added: Mapping[tuple[Any, ...], Mapping[str, Any]]
    ) -> None:
        for some in chunks(sorted(added)):
            keys = [dict(zip(key, values, strict=True)) for values in some]
            await self._connection.execute(upsert(self._db, table, keys, key=key))
            columns = [table.c[name] for name in key]
            query = select(table).where(among(columns, some)).order_by(*columns).with_for_update()
            result = (await self._connection.execute(query)).mappings().all()
            rows = [_sum(dict(row), added[tuple(row[name] for name in key)]) for row in result]
            await self._put(table, rows, key)

    async def touch_viewers(self, ids: Collection[int], now_ms: int) -> None:
        fresh = [mapping.viewer_row(i, Viewer(), now_ms) for i in sorted(ids)]
        for some in chunks(fresh):
            statement = upsert(self._db, t.viewers, some, key=("viewer_id",), update=("changed_at_ms",))
            await self._connection.execute(statement)

    async def viewers(self, ids: Collection[int]) -> Mapping[int, Viewer]:
        found: dict[int, Viewer] = {}
        for some in chunks(sorted(ids)):
            result = await self._connection.execute(select(t.viewers).where(t.viewers.c.viewer_id.in_(some)))
            found |= {row["viewer_id"]: mapping.viewer(row) for row in result.mappings()}
        return found

    async def put_viewers(self, viewers: Mapping[int, Viewer], now_ms: int) -> None:
        rows = [mapping.viewer_row(i, viewer, now_ms) for i, viewer in sorted(viewers.items())]
        await self._put(t.viewers, rows, ("viewer_id",))

    async def forget_viewer(self, viewer_id: int, now_ms: int) -> None:
        # The row stays, empty: replicas learn from its change that the viewer is gone.
        await self._connection.execute(
            update(t.viewers)
            .where(t.viewers.c.viewer_id == viewer_id)
            .values(interests="[]", language="", region="", utc_offset_hours=0, device="", changed_at_ms=now_ms)
        )

    async def clear(self) -> None:
        for table in (t.video_stats, t.video_slices, t.length_buckets, t.author_stats):
            await self._connection.execute(delete(table))
        # Where viewers are is told by no event.
        await self._connection.execute(update(t.viewers).values(interests="[]", interests_version=0))
        await self._connection.execute(delete(t.counted_events))


def _as_dict(stats: Any) -> dict[str, Any]:
    return {f.name: getattr(stats, f.name) for f in fields(stats)}


def among(columns: Sequence[Any], keys: Sequence[tuple[Any, ...]]) -> Any:
    """Rows whose `columns` equal one of `keys`, without row values, which not every dialect has an index for."""
    if len(columns) == 1:
        return columns[0].in_([key[0] for key in keys])
    first, second = columns
    grouped: dict[Any, list[Any]] = {}
    for one, other in keys:
        grouped.setdefault(one, []).append(other)
    return or_(*(and_(first == one, second.in_(others)) for one, others in grouped.items()))


def _sum(row: dict[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in added.items():
        row[name] = join(row[name], value) if name.startswith("heat") else row[name] + value
    return row
