"""Trending in a relational database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from sqlalchemy import and_, bindparam, case, delete, func, select, update
from sqlalchemy.engine import Row

from feed_svc.trending.store import Act, Bucket, Ranked, TrendingTx, TrendingVideo, Views
from feed_svc.trending.stores.tables import trending_acts, trending_buckets, trending_videos, trending_views
from svc_kit.caller import Caller
from svc_kit.clock import now_ms
from svc_kit.db import upsert
from svc_kit.uow import SqlTx, UnitOfWork, begin

T = TypeVar("T")

PARAMETERS = 500
"""Databases limit how many a statement may have."""
ROWS = 80
SUMS = ("views", "weight_milli", "fresh_milli")
"""What acts add to a bucket."""


class SqlTrendingTx(SqlTx):
    """`TrendingTx`."""

    async def put_videos(self, videos: Sequence[TrendingVideo]) -> None:
        t, now = trending_videos, now_ms(self.uow.clock)
        names = ("author_id", "shown", "published_at_ms", "put_at_ms", "version")

        def newer(new: Any) -> Mapping[str, Any]:
            # MySQL assigns from left to right: the version that all others are compared with comes last.
            return {name: case((new.version >= t.c.version, new[name]), else_=t.c[name]) for name in names}

        for some in _parts(sorted(videos, key=lambda video: video.video_id), ROWS):
            rows = [_video_row(video, now) for video in some]
            await self.connection.execute(upsert(self.uow.db, t, rows, key=["video_id"], update=newer))

    async def lock_videos(self, video_ids: Sequence[int]) -> Mapping[int, TrendingVideo]:
        t, found = trending_videos, dict[int, TrendingVideo]()
        for ids in _parts(video_ids):
            query = select(t).where(t.c.video_id.in_(ids)).order_by(t.c.video_id).with_for_update()
            found.update((row.video_id, _video(row)) for row in await self.connection.execute(query))
        return found

    async def acts(self, entities: Sequence[str]) -> Mapping[str, Act]:
        t, found = trending_acts, dict[str, Act]()
        for some in _parts(set(entities)):
            rows = await self.connection.execute(select(t).where(t.c.entity.in_(some)))
            found.update((row.entity, Act(*row)) for row in rows)
        return found

    async def put_acts(self, acts: Sequence[Act]) -> None:
        names = [column.name for column in trending_acts.c]
        for some in _parts(acts, ROWS):
            rows = [{name: getattr(act, name) for name in names} for act in some]
            statement = upsert(self.uow.db, trending_acts, rows, key=["entity"], update=names[1:])
            await self.connection.execute(statement)

    async def add(self, video_id: int, changes: Sequence[Bucket]) -> None:
        t, v = trending_buckets, trending_views

        def added(new: Any) -> Mapping[str, Any]:
            return {name: t.c[name] + new[name] for name in SUMS}

        for some in _parts(changes, ROWS):
            rows = [_bucket_row(video_id, bucket) for bucket in some]
            await self.connection.execute(upsert(self.uow.db, t, rows, key=["video_id", "bucket"], update=added))
        views = sum(bucket.views for bucket in changes)
        if views:
            row = {"video_id": video_id, "views": views, "changed_at_ms": now_ms(self.uow.clock)}

            def more(new: Any) -> Mapping[str, Any]:
                return {"views": v.c.views + new.views, "changed_at_ms": new.changed_at_ms}

            await self.connection.execute(upsert(self.uow.db, v, row, key=["video_id"], update=more))

    async def buckets(self, video_ids: Sequence[int], since: int) -> Mapping[int, Sequence[Bucket]]:
        t, found = trending_buckets, defaultdict[int, list[Bucket]](list)
        for ids in _parts(video_ids):
            query = select(t).where(t.c.video_id.in_(ids), t.c.bucket >= since).order_by(t.c.video_id, t.c.bucket)
            for row in await self.connection.execute(query):
                found[row.video_id].append(Bucket(row.bucket, row.views, row.weight_milli, row.fresh_milli))
        return found

    async def recount(self, video_ids: Sequence[int], since: int) -> None:
        a, b = trending_acts, trending_buckets
        for ids in _parts(video_ids):
            sums = (func.sum(a.c[name]).label(name) for name in SUMS)
            query = select(a.c.video_id, a.c.bucket, *sums).where(a.c.video_id.in_(ids), a.c.bucket >= since)
            rows = (await self.connection.execute(query.group_by(a.c.video_id, a.c.bucket))).all()
            await self.connection.execute(delete(b).where(b.c.video_id.in_(ids), b.c.bucket >= since))
            for some in _parts(rows, ROWS):
                values = [
                    _bucket_row(row.video_id, Bucket(row.bucket, *(int(getattr(row, name)) for name in SUMS)))
                    for row in some
                ]
                await self.connection.execute(b.insert(), values)

    async def set_ranks(self, ranks: Mapping[int, float]) -> None:
        t = trending_videos
        if ranks:
            statement = update(t).where(t.c.video_id == bindparam("of")).values(standing=bindparam("to"))
            rows = [{"of": video_id, "to": rank} for video_id, rank in sorted(ranks.items())]
            await self.connection.execute(statement, rows)

    async def mark_viral(self, video_id: int) -> TrendingVideo | None:
        t = trending_videos
        fresh = and_(t.c.video_id == video_id, t.c.shown, t.c.viral_at_ms.is_(None))
        marked = await self.connection.execute(update(t).where(fresh).values(viral_at_ms=now_ms(self.uow.clock)))
        if not marked.rowcount:
            return None
        return _video((await self.connection.execute(select(t).where(t.c.video_id == video_id))).one())


class SqlTrendingStore:
    """`TrendingStore`."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._db = uow.db

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[TrendingTx]:
        return begin(SqlTrendingTx, self._uow, caller)

    async def top(self, limit: int) -> Sequence[Ranked]:
        t = trending_videos
        query = select(t.c.video_id, t.c.author_id, t.c.standing).where(t.c.shown)
        query = query.order_by(t.c.standing.desc(), t.c.video_id.desc()).limit(limit)
        async with self._db.read() as connection:
            return [Ranked(*row) for row in await connection.execute(query)]

    async def views_since(self, bucket: int) -> Sequence[tuple[int, int]]:
        t = trending_buckets
        views = func.sum(t.c.views)
        query = select(t.c.video_id, views).where(t.c.bucket >= bucket).group_by(t.c.video_id).having(views > 0)
        async with self._db.read() as connection:
            rows = await connection.execute(query.order_by(views.desc(), t.c.video_id))
            return [(video_id, int(count)) for video_id, count in rows]

    async def views_changed(self, since_ms: int, limit: int) -> Sequence[Views]:
        t, v = trending_videos, trending_views
        query = (
            select(v.c.video_id, t.c.author_id, v.c.views, v.c.changed_at_ms)
            .join(t, t.c.video_id == v.c.video_id)
            .where(v.c.changed_at_ms >= since_ms)
            .order_by(v.c.changed_at_ms, v.c.video_id)
            .limit(limit)
        )
        async with self._db.read() as connection:
            return [Views(*row) for row in await connection.execute(query)]

    async def ids_after(self, video_id: int, limit: int) -> Sequence[int]:
        t = trending_videos
        query = select(t.c.video_id).where(t.c.video_id > video_id).order_by(t.c.video_id).limit(limit)
        async with self._db.read() as connection:
            return list((await connection.scalars(query)).all())

    async def hide_unlisted(self, after_id: int, last_id: int, listed: Sequence[int], before_ms: int) -> int:
        t, keep = trending_videos, set(listed)
        query = select(t.c.video_id).where(
            t.c.video_id > after_id, t.c.video_id <= last_id, t.c.shown, t.c.put_at_ms < before_ms
        )
        async with self._db.write() as connection:
            gone = [video_id for video_id in (await connection.scalars(query)).all() if video_id not in keep]
            for ids in _parts(gone):
                await connection.execute(update(t).where(t.c.video_id.in_(ids)).values(shown=False))
        return len(gone)

    async def prune(self, before_bucket: int, limit: int) -> int:
        a, b = trending_acts, trending_buckets
        async with self._db.write() as connection:
            old = select(a.c.entity).where(a.c.bucket < before_bucket).limit(limit)
            entities = (await connection.scalars(old)).all()
            for some in _parts(entities):
                await connection.execute(delete(a).where(a.c.entity.in_(some)))
            rows = (
                await connection.execute(
                    select(b.c.bucket, b.c.video_id).where(b.c.bucket < before_bucket).limit(limit)
                )
            ).all()
            statement = delete(b).where(b.c.bucket == bindparam("number"), b.c.video_id == bindparam("of"))
            if rows:
                await connection.execute(statement, [{"number": row.bucket, "of": row.video_id} for row in rows])
        return len(entities) + len(rows)


def _video_row(video: TrendingVideo, now: int) -> dict[str, Any]:
    return {
        "video_id": video.video_id,
        "author_id": video.author_id,
        "version": video.version,
        "shown": video.shown,
        "published_at_ms": video.published_at_ms,
        "put_at_ms": now,
        "standing": 0.0,
    }


def _bucket_row(video_id: int, bucket: Bucket) -> dict[str, int]:
    return {
        "video_id": video_id,
        "bucket": bucket.bucket,
        "views": bucket.views,
        "weight_milli": bucket.weight_milli,
        "fresh_milli": bucket.fresh_milli,
    }


def _video(row: Row[Any]) -> TrendingVideo:
    return TrendingVideo(row.video_id, row.author_id, row.version, row.shown, row.published_at_ms)


def _parts(items: Iterable[T], size: int = PARAMETERS) -> list[list[T]]:
    every = list(items)
    return [every[i : i + size] for i in range(0, len(every), size)]
