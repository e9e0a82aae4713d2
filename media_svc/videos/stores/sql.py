"""Videos in a relational database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, func, select, update

from media_svc.transcode.stores.tables import media_sets
from media_svc.videos.store import VideoMedia, VideoRendition, VideoRow, VideoState, Visibility
from media_svc.videos.stores.tables import author_videos, videos
from media_svc.videos.visibility import EVERYBODY, audience_of
from svc_kit.db import ByIds, Database, insert_new, upsert
from svc_kit.uow import SqlTx

_VIDEOS = ByIds(select(videos), videos.c.id)
_STATES = {state.value: state for state in VideoState}
_VISIBILITIES = {visibility.value: visibility for visibility in Visibility}


class SqlVideoTx(SqlTx):
    """See `VideoTx`."""

    async def video(self, video_id: int) -> VideoRow | None:
        return await self._one_video(videos.c.id == video_id)

    async def video_of_upload(self, upload_id: int) -> VideoRow | None:
        return await self._one_video(videos.c.upload_id == upload_id)

    async def _one_video(self, condition: Any) -> VideoRow | None:
        row = (await self.connection.execute(select(videos).where(condition).with_for_update())).one_or_none()
        return None if row is None else _video(row)

    async def videos_of_set(self, set_id: int) -> Sequence[VideoRow]:
        return [_video(row) for row in await self.connection.execute(select(videos).where(videos.c.set_id == set_id))]

    async def add_video(self, row: VideoRow) -> None:
        await insert_new(self.connection, videos, [_values(row)])
        await self._list_video(row)

    async def save_video(self, row: VideoRow) -> None:
        values = _values(row)
        del values["id"]
        await self.connection.execute(update(videos).where(videos.c.id == row.id).values(values))
        await self._list_video(row)

    async def _list_video(self, row: VideoRow) -> None:
        key = ("author_id", "video_id")
        if row.state is VideoState.DELETED:
            mine = (author_videos.c.author_id == row.author_id) & (author_videos.c.video_id == row.id)
            await self.connection.execute(delete(author_videos).where(mine))
            return
        audience = audience_of(row.state, row.visibility)
        entry = {"author_id": row.author_id, "video_id": row.id, "audience": audience}
        await self.connection.execute(upsert(self.uow.db, author_videos, entry, key=key, update=("audience",)))

    async def media_of_set(self, set_id: int) -> VideoMedia:
        row = (await self.connection.execute(select(media_sets).where(media_sets.c.id == set_id))).one()
        return _media(
            {
                "duration_ms": row.duration_ms,
                "width": row.width,
                "height": row.height,
                "has_audio": row.has_audio,
                "renditions": row.renditions,
            }
        )


class SqlVideoStore:
    """See `VideoStore`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def videos(self, ids: Sequence[int]) -> Sequence[VideoRow]:
        return [_video(row) for row in await self._db.by_ids(_VIDEOS, ids)]

    async def author_videos(self, author_id: int, least_audience: int, before_id: int, limit: int) -> Sequence[int]:
        entry = author_videos.c
        query = select(entry.video_id).where(entry.author_id == author_id)
        if least_audience > 0:
            query = query.where(entry.audience >= least_audience)
        if before_id:
            query = query.where(entry.video_id < before_id)
        async with self._db.read() as connection:
            return list((await connection.execute(query.order_by(entry.video_id.desc()).limit(limit))).scalars())

    async def counts(self, author_ids: Sequence[int]) -> Mapping[int, int]:
        if not author_ids:
            return {}
        entry = author_videos.c
        query = (
            select(entry.author_id, func.count().label("videos"))
            .where(entry.author_id.in_(author_ids), entry.audience == EVERYBODY)
            .group_by(entry.author_id)
        )
        async with self._db.read() as connection:
            return {row.author_id: row.videos for row in await connection.execute(query)}

    async def published(self, after_id: int, limit: int) -> Sequence[VideoRow]:
        query = select(videos).where(videos.c.state == VideoState.READY.value, videos.c.id > after_id)
        async with self._db.read() as connection:
            return [_video(row) for row in await connection.execute(query.order_by(videos.c.id).limit(limit))]


def _values(row: VideoRow) -> dict[str, Any]:
    return asdict(row) | {
        "state": row.state.value,
        "visibility": row.visibility.value,
        "hashtags": list(row.hashtags),
        "play_id": row.play_id or None,
    }


def _video(row: Sequence[Any]) -> VideoRow:
    # By position, in the order of the table, which is the dataclass's: a page of a feed is read with every request.
    id_, author, upload, set_, state, failure, visibility, comments, caption, tags, language, media, play, *rest = row
    return VideoRow(
        *(id_, author, upload, set_, _STATES[state], failure, _VISIBILITIES[visibility], comments, caption),
        *(tuple(tags), language, _media(media), play or "", *rest),
    )


def _media(stored: Mapping[str, Any]) -> VideoMedia:
    renditions = [VideoRendition(r["width"], r["height"], r["codec"], r["bitrate_kbps"]) for r in stored["renditions"]]
    size = (stored["duration_ms"], stored["width"], stored["height"], stored["has_audio"])
    return VideoMedia(*size, tuple(renditions))
