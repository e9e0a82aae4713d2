"""Hashtags and their videos in a relational database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from feed_svc.search.store import HashtagRow, Place, TaggedVideo
from feed_svc.search.stores.tables import hashtag_videos, hashtags, tagged_videos
from svc_kit.clock import Clock, now_ms
from svc_kit.db import Database, upsert

T = TypeVar("T")

PARAMETERS = 500
"""Databases limit how many a statement may have."""


class SqlHashtagStore:
    """`HashtagStore` over `tagged_videos`, `hashtag_videos` and `hashtags`."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def apply(self, videos: Sequence[TaggedVideo]) -> Sequence[HashtagRow]:
        async def apply(connection: AsyncConnection) -> Sequence[HashtagRow]:
            wanted = await self._newest(connection, videos)
            await self._put(connection, list(wanted.values()))
            touched = await self._names_of(connection, [video.video_id for video in videos])
            return await self._rows(connection, touched)

        return await self._db.transact(apply)

    async def _newest(self, connection: AsyncConnection, videos: Sequence[TaggedVideo]) -> dict[int, TaggedVideo]:
        """Those that are not older than what was taken in, one a video."""
        v, held = tagged_videos, dict[int, int]()
        for ids in _parts({video.video_id for video in videos}):
            query = select(v.c.video_id, v.c.version).where(v.c.video_id.in_(ids)).with_for_update()
            held.update((row.video_id, row.version) for row in await connection.execute(query))
        newest: dict[int, TaggedVideo] = {}
        for video in videos:
            if video.version >= held.get(video.video_id, 0):
                held[video.video_id] = video.version
                newest[video.video_id] = video
        return newest

    async def _put(self, connection: AsyncConnection, videos: Sequence[TaggedVideo]) -> None:
        now, changes = now_ms(self._clock), Counter[str]()
        for some in _parts(videos):
            rows = [_row(video, now) for video in some]
            statement = upsert(
                self._db, tagged_videos, rows, key=["video_id"], update=["version", "shown", "written_at_ms"]
            )
            await connection.execute(statement)
            present = await self._present(connection, [video.video_id for video in some])
            rows = []
            for video in some:
                tags, before = set(video.hashtags) if video.shown else set(), present.get(video.video_id, {})
                for name in tags | before.keys():
                    if (name in tags) != before.get(name, False):
                        changes[name] += 1 if name in tags else -1
                        place = {"published_at_ms": video.published_at_ms, "present": name in tags}
                        rows.append({"name": name, "video_id": video.video_id, **place})
            await self._put_places(connection, rows)
        await self._count(connection, changes)

    async def _present(self, connection: AsyncConnection, ids: Sequence[int]) -> dict[int, dict[str, bool]]:
        h, found = hashtag_videos, dict[int, dict[str, bool]]()
        query = select(h.c.video_id, h.c.name, h.c.present).where(h.c.video_id.in_(ids))
        for row in await connection.execute(query):
            found.setdefault(row.video_id, {})[row.name] = row.present
        return found

    async def _put_places(self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        for some in _parts(rows, 100):
            statement = upsert(
                self._db, hashtag_videos, some, key=["name", "video_id"], update=["present", "published_at_ms"]
            )
            await connection.execute(statement)

    async def _count(self, connection: AsyncConnection, changes: Mapping[str, int]) -> None:
        h = hashtags
        # In one order, so that two writers never wait for each other in a ring.
        for some in _parts(sorted(changes), 100):
            rows = [{"name": name, "video_count": changes[name], "version": 1} for name in some]

            def added(new: Any) -> Mapping[str, Any]:
                return {"video_count": h.c.video_count + new["video_count"], "version": h.c.version + 1}

            await connection.execute(upsert(self._db, h, rows, key=["name"], update=added))

    async def _names_of(self, connection: AsyncConnection, video_ids: Iterable[int]) -> list[str]:
        h, names = hashtag_videos, set[str]()
        for ids in _parts(set(video_ids)):
            names.update(await connection.scalars(select(h.c.name).where(h.c.video_id.in_(ids)).distinct()))
        return sorted(names)

    async def _rows(self, connection: AsyncConnection, names: Sequence[str]) -> list[HashtagRow]:
        h, found = hashtags, list[HashtagRow]()
        for some in _parts(names):
            query = select(h.c.name, h.c.video_count, h.c.version).where(h.c.name.in_(some)).order_by(h.c.name)
            found += [HashtagRow(*row) for row in await connection.execute(query)]
        return found

    async def get(self, names: Sequence[str]) -> Mapping[str, HashtagRow]:
        async with self._db.read() as connection:
            return {row.name: row for row in await self._rows(connection, names) if row.video_count > 0}

    async def videos(self, name: str, limit: int, before: Place | None = None) -> Sequence[Place]:
        h = hashtag_videos
        query = select(h.c.published_at_ms, h.c.video_id).where(h.c.name == name, h.c.present)
        if before is not None:
            at, video_id = before
            query = query.where(or_(h.c.published_at_ms < at, and_(h.c.published_at_ms == at, h.c.video_id < video_id)))
        query = query.order_by(h.c.published_at_ms.desc(), h.c.video_id.desc()).limit(limit)
        async with self._db.read() as connection:
            return [(row.published_at_ms, row.video_id) for row in await connection.execute(query)]

    async def page(self, after_name: str, limit: int) -> Sequence[HashtagRow]:
        h = hashtags
        query = select(h.c.name, h.c.video_count, h.c.version).where(h.c.name > after_name)
        async with self._db.read() as connection:
            return [HashtagRow(*row) for row in await connection.execute(query.order_by(h.c.name).limit(limit))]

    async def hide_unlisted(self, after_id: int, last_id: int, listed: Sequence[int], before_ms: int) -> int:
        v, keep = tagged_videos, set(listed)
        query = select(v.c.video_id, v.c.version).where(
            v.c.video_id > after_id, v.c.video_id <= last_id, v.c.shown, v.c.written_at_ms < before_ms
        )
        async with self._db.write() as connection:
            rows = (await connection.execute(query)).all()
            gone = [TaggedVideo(row.video_id, row.version, shown=False) for row in rows if row.video_id not in keep]
            await self._put(connection, gone)
        return len(gone)

    async def recount(self) -> int:
        h, v = hashtags, hashtag_videos
        counted = select(func.count()).where(v.c.name == h.c.name, v.c.present).scalar_subquery()
        statement = update(h).where(h.c.video_count != counted).values(video_count=counted, version=h.c.version + 1)
        async with self._db.write() as connection:
            return int((await connection.execute(statement)).rowcount)


def _row(video: TaggedVideo, now: int) -> dict[str, Any]:
    return {"video_id": video.video_id, "version": video.version, "shown": video.shown, "written_at_ms": now}


def _parts(items: Iterable[T], size: int = PARAMETERS) -> list[list[T]]:
    every = list(items)
    return [every[i : i + size] for i in range(0, len(every), size)]
