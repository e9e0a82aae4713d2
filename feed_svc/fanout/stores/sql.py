"""Author timelines, fan-out jobs and activity in a relational database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from sqlalchemy import and_, case, delete, or_, select, update
from sqlalchemy.engine import Row

from feed_svc.fanout.store import FanoutJob, Key, Post, TimelineEntry
from feed_svc.fanout.stores.tables import activity, fanout_jobs, pulled_authors, timelines
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.db import Database, connect, upsert
from svc_kit.liveness import is_gone
from svc_kit.uow import SqlTx, UnitOfWork, begin

IDS_A_QUERY = 900
"""Databases limit the number of parameters of one statement."""

Values = Mapping[str, Any]


def chunks(ids: Sequence[int], size: int = IDS_A_QUERY) -> list[Sequence[int]]:
    """`ids` in parts that one statement can carry."""
    return [ids[i : i + size] for i in range(0, len(ids), size)]


async def open(url: str, own: Database | None = None, *, clock: Clock, gone_days: int) -> SqlTimelineStore:
    """Timelines in the database at `url`; `own` is used when given (the service's own, whose migrations made the
    table), else the table is made. Nothing is forgotten."""
    if own is not None:
        return SqlTimelineStore(own, clock)
    db = connect(url)
    async with db.write() as connection:
        await connection.run_sync(timelines.create, checkfirst=True)
    return SqlTimelineStore(db, clock, close=True)


class SqlTimelineStore:
    """`TimelineStore` over `author_timelines`."""

    def __init__(self, db: Database, clock: Clock, *, close: bool = False) -> None:
        self._db = db
        self._clock = clock
        self._close = close

    async def check(self) -> None:
        """Raises UNAVAILABLE when it can't be read."""
        await self._db.check()

    async def close(self) -> None:
        """Close the database, if it is this store's own."""
        if self._close:
            await self._db.close()

    async def put(self, entries: Sequence[TimelineEntry]) -> None:
        t, now = timelines, now_ms(self._clock)
        columns = [c.name for c in t.c if c.name not in ("video_id", "version", "written_at_ms")]

        def newer(new: Any) -> Values:
            # MySQL assigns from left to right: the version that all others are compared with comes last.
            names = [*columns, "version"]
            chosen = {name: case((new.version > t.c.version, new[name]), else_=t.c[name]) for name in names}
            return {"written_at_ms": new.written_at_ms, **chosen}

        for start in range(0, len(entries), 50):
            rows = [_row(entry, now) for entry in entries[start : start + 50]]
            async with self._db.write() as connection:
                await connection.execute(upsert(self._db, t, rows, key=["video_id"], update=newer))

    async def newest(
        self, author_ids: Sequence[int], limit: int, *, before: Key | None = None, public_only: bool = False
    ) -> Sequence[Post]:
        t = timelines
        visible = t.c.visibility == "PUBLIC" if public_only else t.c.visibility != "PRIVATE"
        below = or_(
            t.c.published_at_ms < before[0], and_(t.c.published_at_ms == before[0], t.c.video_id < before[1])
        ) if before else None  # fmt: skip
        found: list[Post] = []
        async with self._db.read() as connection:
            for part in chunks(author_ids):
                query = select(t.c.video_id, t.c.author_id, t.c.published_at_ms).where(
                    t.c.author_id.in_(part), visible, ~t.c.deleted
                )
                if below is not None:
                    query = query.where(below)
                query = query.order_by(t.c.published_at_ms.desc(), t.c.video_id.desc()).limit(limit)
                found += [Post(*row) for row in await connection.execute(query)]
        return sorted(found, key=lambda post: post.key, reverse=True)[:limit]

    async def newest_public(self, limit: int) -> Sequence[TimelineEntry]:
        t = timelines
        query = (
            select(t)
            .where(t.c.visibility == "PUBLIC", ~t.c.deleted)
            .order_by(t.c.published_at_ms.desc(), t.c.video_id.desc())
            .limit(limit)
        )
        async with self._db.read() as connection:
            return [_entry(row) for row in await connection.execute(query)]

    async def get(self, video_ids: Sequence[int]) -> Sequence[TimelineEntry]:
        found: list[TimelineEntry] = []
        async with self._db.read() as connection:
            for part in chunks(video_ids):
                query = select(timelines).where(timelines.c.video_id.in_(part), ~timelines.c.deleted)
                found += [_entry(row) for row in await connection.execute(query)]
        return found

    async def remove_unheard(self, before_ms: int) -> int:
        t, after, count = timelines, 0, 0
        while True:
            query = select(t.c.video_id).where(t.c.video_id > after, t.c.written_at_ms < before_ms, ~t.c.deleted)
            async with self._db.write() as connection:
                found = await connection.execute(query.order_by(t.c.video_id).limit(IDS_A_QUERY).with_for_update())
                ids = list(found.scalars())
                await connection.execute(update(t).where(t.c.video_id.in_(ids)).values(deleted=True))
            count += len(ids)
            if len(ids) < IDS_A_QUERY:
                return count
            after = ids[-1]


def _row(entry: TimelineEntry, now: int) -> dict[str, Any]:
    return {
        "video_id": entry.post.video_id,
        "author_id": entry.post.author_id,
        "published_at_ms": entry.post.published_at_ms,
        "visibility": entry.visibility,
        "hashtags": json.dumps(entry.hashtags, ensure_ascii=False),
        "duration_ms": entry.duration_ms,
        "language": entry.language[:35],
        "deleted": entry.deleted,
        "version": entry.version,
        "written_at_ms": now,
    }


def _entry(row: Row[Any]) -> TimelineEntry:
    return TimelineEntry(
        Post(row.video_id, row.author_id, row.published_at_ms),
        row.visibility,
        tuple(json.loads(row.hashtags)),
        row.duration_ms,
        row.language,
        row.version,
        row.deleted,
    )


class SqlFanoutJobs:
    """`FanoutJobs` over `fanout_jobs` and `pulled_authors`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def put(self, job: FanoutJob) -> None:
        f = fanout_jobs
        fresh: Values = {
            "last_follower_id": job.last_follower_id,
            "version": job.version,
            "withdraw": job.withdraw,
            "done": False,
            "holder": "",
            "leased_until_ms": 0,
        }
        row = {
            **fresh,
            "video_id": job.post.video_id,
            "author_id": job.post.author_id,
            "published_at_ms": job.post.published_at_ms,
            "created_at_ms": now_ms(self._clock),
        }
        async with self._db.write() as connection:
            await connection.execute(upsert(self._db, f, row, key=["video_id"]))
            await connection.execute(
                update(f).where(f.c.video_id == job.post.video_id, f.c.version < job.version).values(**fresh)
            )

    async def claim(self, holder: str, lease_ms: int) -> FanoutJob | None:
        f, now = fanout_jobs, now_ms(self._clock)
        async with self._db.write() as connection:
            rows = await connection.execute(
                select(f)
                .where(~f.c.done)
                .order_by(f.c.created_at_ms, f.c.video_id)
                .limit(100)
                .with_for_update(skip_locked=True)
            )
            for row in rows.all():
                if row.leased_until_ms > now and not is_gone(row.holder):
                    continue
                taken = await connection.execute(
                    update(f)
                    .where(f.c.video_id == row.video_id, f.c.leased_until_ms == row.leased_until_ms)
                    .where(f.c.holder == row.holder, f.c.version == row.version)
                    .values(holder=holder, leased_until_ms=now + lease_ms)
                )
                if taken.rowcount:
                    post = Post(row.video_id, row.author_id, row.published_at_ms)
                    return FanoutJob(post, row.version, row.withdraw, row.last_follower_id)
        return None

    async def advance(self, job: FanoutJob, holder: str, lease_ms: int, *, done: bool) -> bool:
        f = fanout_jobs
        async with self._db.write() as connection:
            result = await connection.execute(
                update(f)
                .where(f.c.video_id == job.post.video_id, f.c.version == job.version, f.c.holder == holder)
                .values(
                    last_follower_id=job.last_follower_id, done=done, leased_until_ms=now_ms(self._clock) + lease_ms
                )
            )
        return bool(result.rowcount)

    async def prune(self, limit: int) -> int:
        f = fanout_jobs
        # A finished job stays a day: its version keeps a redelivered event from pushing the video again.
        old = select(f.c.video_id).where(f.c.done, f.c.created_at_ms < now_ms(self._clock) - 24 * 3600 * 1000)
        async with self._db.write() as connection:
            ids = list((await connection.execute(old.limit(limit))).scalars())
            for part in chunks(ids):
                await connection.execute(delete(f).where(f.c.video_id.in_(part), f.c.done))
        return len(ids)

    async def set_pulled(self, author_id: int) -> None:
        row = {"author_id": author_id}
        async with self._db.write() as connection:
            await connection.execute(upsert(self._db, pulled_authors, row, key=["author_id"]))

    async def pulled_among(self, author_ids: Sequence[int]) -> frozenset[int]:
        p, found = pulled_authors, set[int]()
        async with self._db.read() as connection:
            for part in chunks(author_ids):
                found |= set((await connection.execute(select(p.c.author_id).where(p.c.author_id.in_(part)))).scalars())
        return frozenset(found)


class SqlActivityTx(SqlTx):
    """See `ActivityTx`."""

    async def touch(self, user_id: int, now_ms: int) -> None:
        row = {"user_id": user_id, "active_at_ms": now_ms}
        await self.connection.execute(upsert(self.uow.db, activity, row, key=["user_id"], update=["active_at_ms"]))


class SqlActivityStore:
    """`ActivityStore` over `viewer_activity`."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._db = uow.db

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[SqlActivityTx]:
        return begin(SqlActivityTx, self._uow, caller)

    async def active(self, since_ms: int, after_id: int, limit: int) -> Sequence[int]:
        a = activity
        query = select(a.c.user_id).where(a.c.active_at_ms >= since_ms, a.c.user_id > after_id)
        async with self._db.read() as connection:
            return list((await connection.execute(query.order_by(a.c.user_id).limit(limit))).scalars())

    async def page(self, after_id: int, limit: int) -> Sequence[tuple[int, int]]:
        a = activity
        query = select(a.c.user_id, a.c.active_at_ms).where(a.c.user_id > after_id).order_by(a.c.user_id).limit(limit)
        async with self._db.read() as connection:
            return [(row.user_id, row.active_at_ms) for row in await connection.execute(query)]
