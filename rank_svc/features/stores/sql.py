"""Counts, rates and what viewers told, in the service's own database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select

from rank_svc.features.store import BucketStats, FeatureTx, VideoRecord, VideoState, Viewer
from rank_svc.features.stores import rows as mapping
from rank_svc.features.stores import tables as t
from rank_svc.features.stores.sql_tx import SqlFeatureTx, chunks
from svc_kit.db import Database


class SqlFeatureStore:
    """See `FeatureStore`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[FeatureTx]:
        async with self._db.write() as connection:
            yield SqlFeatureTx(self._db, connection)

    async def _rows(self, query: Any) -> Sequence[Any]:
        async with self._db.read() as connection:
            found: Sequence[Any] = (await connection.execute(query)).mappings().all()
        return found

    async def read(self, ids: Sequence[int]) -> Mapping[int, VideoRecord]:
        v, s, a = t.videos, t.video_stats, t.author_stats
        joined = v.outerjoin(s, s.c.video_id == v.c.video_id).outerjoin(a, a.c.author_id == v.c.author_id)
        columns = [*(v.c[name] for name in mapping.FACTS), *(s.c[name] for name in mapping.STATS), a.c.followers]
        query = select(*columns).select_from(joined).where(v.c.video_id.in_(ids), ~v.c.deleted)
        async with self._db.read() as connection:
            return {row[0]: mapping.record(row) for row in (await connection.execute(query)).all()}

    async def buckets(self) -> Mapping[int, BucketStats]:
        rows = await self._rows(select(t.length_buckets))
        return {row["bucket"]: BucketStats(**{name: row[name] for name in mapping.BUCKET}) for row in rows}

    async def changed_videos(self, since: tuple[int, int], limit: int) -> Sequence[VideoState]:
        v = t.videos.c
        query = select(t.videos).where(_after(v.changed_at_ms, v.video_id, since)).order_by(v.changed_at_ms, v.video_id)
        return [mapping.state(row) for row in await self._rows(query.limit(limit))]

    async def popular(self, slice_: str, limit: int) -> Sequence[tuple[int, float]]:
        s, v = t.video_slices, t.videos
        query = select(s.c.video_id, s.c.heat).join_from(s, v, s.c.video_id == v.c.video_id)
        query = query.where(s.c.slice == slice_, s.c.heat.is_not(None), v.c.servable)
        rows = await self._rows(query.order_by(s.c.heat.desc(), s.c.video_id.desc()).limit(limit))
        return [(row["video_id"], row["heat"]) for row in rows]

    async def prune_claims(self, before_ms: int, limit: int) -> int:
        c = t.counted_events.c
        async with self._db.write() as connection:
            keys = (await connection.scalars(select(c.key).where(c.at_ms < before_ms).limit(limit))).all()
            for some in chunks(keys):
                await connection.execute(delete(t.counted_events).where(c.key.in_(some)))
        return len(keys)

    async def regional(self, slice_: str, ids: Collection[int]) -> Mapping[int, float]:
        s = t.video_slices.c
        found: dict[int, float] = {}
        for some in chunks(ids):
            query = select(s.video_id, s.heat).where(s.video_id.in_(some), s.slice == slice_, s.heat.is_not(None))
            found |= {row["video_id"]: row["heat"] for row in await self._rows(query)}
        return found

    async def young(
        self, since_ms: int, impressions_below: int, limit: int, *, impressions_from: int = 0
    ) -> Sequence[tuple[int, int]]:
        v, s = t.videos, t.video_stats
        shown = func.coalesce(s.c.impressions, 0)
        query = select(v.c.video_id, shown.label("shown")).outerjoin_from(v, s, s.c.video_id == v.c.video_id)
        query = query.where(v.c.servable, v.c.published_at_ms > since_ms, shown < impressions_below)
        if impressions_from:
            query = query.where(shown >= impressions_from)
        query = query.order_by(shown, v.c.published_at_ms, v.c.video_id)
        return [(row["video_id"], row["shown"]) for row in await self._rows(query.limit(limit))]

    async def newest(self, limit: int) -> Sequence[int]:
        v = t.videos.c
        query = select(v.video_id).where(v.servable).order_by(v.published_at_ms.desc(), v.video_id.desc())
        return [row["video_id"] for row in await self._rows(query.limit(limit))]

    async def viewers(self, ids: Collection[int]) -> Mapping[int, Viewer]:
        rows = await self._rows(select(t.viewers).where(t.viewers.c.viewer_id.in_(list(ids))))
        return {row["viewer_id"]: mapping.viewer(row) for row in rows}

    async def changed_viewers(self, since: tuple[int, int], limit: int) -> Sequence[tuple[int, int]]:
        v = t.viewers.c
        query = select(v.changed_at_ms, v.viewer_id).where(_after(v.changed_at_ms, v.viewer_id, since))
        rows = await self._rows(query.order_by(v.changed_at_ms, v.viewer_id).limit(limit))
        return [(row["changed_at_ms"], row["viewer_id"]) for row in rows]


def _after(time: Any, key: Any, since: tuple[int, int]) -> ColumnElement[bool]:
    return or_(time > since[0], (time == since[0]) & (key > since[1]))
