"""What the feeds keep in a relational database: served pages, seen videos, interactions, refusals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from sqlalchemy import case, delete, select

from feed_svc.feeds.snapshot import unpack_entries
from feed_svc.feeds.store import Interaction, ServedPage, VideoFacts, ViewerActions
from feed_svc.feeds.stores.tables import not_interested, served_pages, viewer_likes
from feed_svc.watches.stores.sql import note_action
from feed_svc.watches.stores.tables import viewer_actions, watch_history, watches
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.db import Database, insert_absent, upsert
from svc_kit.uow import SqlTx, UnitOfWork, begin

IDS_A_QUERY = 900
MOST_REFUSED = 1000
DAY_MS = 24 * 3600 * 1000


class SqlServedStore:
    """`ServedStore` over `served_pages`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, pages: Sequence[ServedPage]) -> None:
        key = ["owner", "snapshot_id", "first_position"]
        rows = [
            {
                "owner": page.owner,
                "snapshot_id": page.snapshot_id,
                "first_position": page.first_position,
                "entries": page.entries,
                "served_at_ms": page.served_at_ms,
            }
            for page in pages
        ]
        if rows:
            async with self._db.write() as connection:
                await connection.execute(upsert(self._db, served_pages, rows, key=key))

    async def of_snapshot(self, owner: str, snapshot_id: str) -> Sequence[ServedPage]:
        s = served_pages
        query = select(s).where(s.c.owner == owner, s.c.snapshot_id == snapshot_id).order_by(s.c.first_position)
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            ServedPage(
                owner,
                snapshot_id,
                row.first_position,
                bytes(row.entries),
                tuple(entry.video_id for entry in unpack_entries(bytes(row.entries))),
                row.served_at_ms,
            )
            for row in rows
        ]

    async def prune(self, before_ms: int, limit: int) -> int:
        s = served_pages
        old = select(s.c.owner, s.c.snapshot_id).where(s.c.served_at_ms < before_ms).distinct().limit(limit)
        async with self._db.write() as connection:
            rows = (await connection.execute(old)).all()
            removed = 0
            for owner, snapshot_id in rows:
                gone = delete(s).where(s.c.owner == owner, s.c.snapshot_id == snapshot_id)
                removed += (await connection.execute(gone.where(s.c.served_at_ms < before_ms))).rowcount
        return removed


class SqlSeenStore:
    """`SeenStore` over `watch_history`: exact, however far back."""

    def __init__(self, db: Database, clock: Clock, *, days: int) -> None:
        self._db = db
        self._clock = clock
        self._days = days

    async def among(self, viewer_id: int, video_ids: Sequence[int]) -> frozenset[int]:
        h = watch_history
        since = now_ms(self._clock) - self._days * DAY_MS
        mine = select(h.c.video_id).where(h.c.user_id == viewer_id, h.c.watched_at_ms >= since)
        found: set[int] = set()
        async with self._db.read() as connection:
            for start in range(0, len(video_ids), IDS_A_QUERY):
                part = video_ids[start : start + IDS_A_QUERY]
                found |= set((await connection.execute(mine.where(h.c.video_id.in_(part)))).scalars())
        return frozenset(found)

    async def newest(self, viewer_id: int, limit: int) -> Sequence[int]:
        h = watch_history
        since = now_ms(self._clock) - self._days * DAY_MS
        query = select(h.c.video_id).where(h.c.user_id == viewer_id, h.c.watched_at_ms >= since)
        query = query.order_by(h.c.watched_at_ms.desc(), h.c.video_id.desc()).limit(limit)
        async with self._db.read() as connection:
            return list((await connection.execute(query)).scalars())

    async def oldest(self, viewer_id: int, limit: int) -> Sequence[int]:
        h = watch_history
        query = select(h.c.video_id).where(h.c.user_id == viewer_id)
        async with self._db.read() as connection:
            rows = await connection.execute(query.order_by(h.c.watched_at_ms, h.c.video_id).limit(limit))
            return list(rows.scalars())

    async def since(self, viewer_id: int, at_ms: int, limit: int) -> Sequence[tuple[int, int]]:
        """Videos watched at or after `at_ms` with the time, oldest first: what a cached set lacks."""
        h = watch_history
        query = select(h.c.video_id, h.c.watched_at_ms).where(h.c.user_id == viewer_id, h.c.watched_at_ms >= at_ms)
        async with self._db.read() as connection:
            rows = await connection.execute(query.order_by(h.c.watched_at_ms, h.c.video_id).limit(limit))
            return [(video_id, watched_at_ms) for video_id, watched_at_ms in rows]


class SqlInteractionStore:
    """`InteractionStore` over the watches, likes and refusals of a viewer."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def actions(self, viewer_id: int) -> ViewerActions:
        a, n = viewer_actions, not_interested
        refused = select(n.c.video_id).where(n.c.user_id == viewer_id).order_by(n.c.at_ms.desc()).limit(MOST_REFUSED)
        async with self._db.read() as connection:
            version = await connection.scalar(select(a.c.version).where(a.c.user_id == viewer_id))
            if version is None:
                return ViewerActions(0, frozenset())
            return ViewerActions(version, frozenset((await connection.execute(refused)).scalars()))

    async def recent(self, viewer_id: int, limit: int) -> Sequence[Interaction]:
        w, n, k = watches, not_interested, viewer_likes
        newest_watches = select(w).where(w.c.user_id == viewer_id).order_by(w.c.at_ms.desc()).limit(limit)
        newest_refusals = select(n).where(n.c.user_id == viewer_id).order_by(n.c.at_ms.desc()).limit(limit)
        newest_likes = select(k).where(k.c.user_id == viewer_id, k.c.at_ms > 0).order_by(k.c.at_ms.desc()).limit(limit)
        async with self._db.read() as connection:
            watched = [_watch(row) for row in await connection.execute(newest_watches)]
            refused = [_refusal(row) for row in await connection.execute(newest_refusals)]
            liked = [
                Interaction(row.video_id, row.author_id, row.at_ms, liked=True)
                for row in await connection.execute(newest_likes)
            ]
        acts = sorted([*watched, *refused, *liked], key=lambda act: act.at_ms, reverse=True)[:limit]
        # A like tells nothing of hashtags; a watch of the same video does.
        tags = {act.video_id: act.hashtags for act in watched}
        return [
            Interaction(act.video_id, act.author_id, act.at_ms, liked=True, hashtags=tags.get(act.video_id, ()))
            if act.liked
            else act
            for act in acts
        ]

    async def liked(self, viewer_ids: Sequence[int], limit: int) -> Sequence[tuple[int, int]]:
        k = viewer_likes
        query = select(k.c.video_id, k.c.author_id).where(k.c.user_id.in_(list(viewer_ids)), k.c.at_ms > 0)
        async with self._db.read() as connection:
            rows = await connection.execute(query.order_by(k.c.at_ms.desc(), k.c.video_id.desc()).limit(limit))
            return list({row.video_id: (row.video_id, row.author_id) for row in rows}.values())

    async def note_action(self, viewer_id: int) -> None:
        async with self._db.write() as connection:
            await note_action(connection, self._db, viewer_id)

    async def put_like(self, viewer_id: int, video_id: int, author_id: int, at_ms: int, version: int) -> None:
        k = viewer_likes
        row = {
            "user_id": viewer_id,
            "video_id": video_id,
            "author_id": author_id,
            "at_ms": at_ms,
            "version": version,
        }

        def newer(new: Any) -> dict[str, Any]:
            # The version that the other is compared with is assigned last: MySQL assigns from left to right.
            names = ("at_ms", "version")
            return {name: case((new.version > k.c.version, new[name]), else_=k.c[name]) for name in names}

        async with self._db.write() as connection:
            await connection.execute(upsert(self._db, k, row, key=["user_id", "video_id"], update=newer))
            await note_action(connection, self._db, viewer_id)


def _watch(row: Any) -> Interaction:
    return Interaction(
        row.video_id,
        row.author_id,
        row.at_ms,
        watched_ms=row.watched_ms,
        duration_ms=row.duration_ms,
        completed=row.completed,
        skipped=row.skipped,
        hashtags=tuple(json.loads(row.hashtags)),
    )


def _refusal(row: Any) -> Interaction:
    tags = tuple(json.loads(row.hashtags))
    return Interaction(row.video_id, row.author_id, row.at_ms, not_interested=True, hashtags=tags)


class SqlNotInterestedTx(SqlTx):
    """`NotInterestedTx` in one connection."""

    async def refuse(self, viewer_id: int, video: VideoFacts, at_ms: int) -> bool:
        row = {
            "user_id": viewer_id,
            "video_id": video.video_id,
            "author_id": video.author_id,
            "hashtags": json.dumps(video.hashtags, ensure_ascii=False),
            "at_ms": at_ms,
        }
        n, db = not_interested, self.uow.db
        known = select(n.c.user_id).where(n.c.user_id == viewer_id, n.c.video_id == video.video_id)
        if (await self.connection.execute(known)).first():
            return False
        if not await insert_absent(db, self.connection, n, row, key=["user_id", "video_id"]):
            return False
        await note_action(self.connection, db, viewer_id)
        return True


class SqlNotInterestedStore:
    """`NotInterestedStore` over `not_interested`."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[SqlNotInterestedTx]:
        return begin(SqlNotInterestedTx, self._uow, caller)
