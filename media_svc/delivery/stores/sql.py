"""Names in URLs, looked up in the relational truth."""

from __future__ import annotations

from sqlalchemy import select

from media_svc.delivery.store import Playable
from media_svc.uploads.stores.tables import avatars
from media_svc.videos.stores.tables import videos
from svc_kit.db import Database


class SqlPlaybackDirectory:
    """See `PlaybackDirectory`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def playable(self, play_id: str) -> Playable | None:
        query = select(videos.c.id, videos.c.set_id, videos.c.visibility).where(videos.c.play_id == play_id)
        async with self._db.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Playable(row.id, row.set_id, row.visibility == "PUBLIC")

    async def avatar_set(self, key: str) -> int:
        async with self._db.read() as connection:
            row = (await connection.execute(select(avatars.c.set_id).where(avatars.c.key == key))).one_or_none()
        return 0 if row is None else int(row.set_id)
