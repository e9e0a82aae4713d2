"""Uploads in a relational database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, and_, case, delete, exists, func, insert, or_, select, update

from media_svc.transcode.stores.tables import banned_digests, media_sets
from media_svc.uploads.store import OPEN_STATES, UploadRow, UploadState, Usage
from media_svc.uploads.stores.tables import avatars, uploads
from svc_kit.db import Database, upsert
from svc_kit.leases import exclusive
from svc_kit.uow import SqlTx

_IS_KEPT = or_(uploads.c.state.in_(OPEN_STATES), and_(uploads.c.state == UploadState.READY, uploads.c.set_id != 0))
_NEEDS_PARTS = (UploadState.RECEIVING, UploadState.VERIFYING)


class SqlUploadTx(SqlTx):
    """See `UploadTx`."""

    async def upload(self, upload_id: int) -> UploadRow | None:
        found = await self.connection.execute(select(uploads).where(uploads.c.id == upload_id).with_for_update())
        row = found.one_or_none()
        return None if row is None else _upload(row)

    async def open_upload_of(self, owner_id: int, sha256: str, size_bytes: int, is_image: bool) -> UploadRow | None:
        query = select(uploads).where(
            *_same_bytes(owner_id, sha256, size_bytes, is_image), uploads.c.state.in_(OPEN_STATES)
        )
        row = (await self.connection.execute(query.order_by(uploads.c.id.desc()).limit(1))).one_or_none()
        return None if row is None else _upload(row)

    async def usage(self, owner_id: int) -> Usage:
        # What an owner begins at the same moment is counted one after the other.
        await exclusive(self.uow.db, self.connection, f"uploads:{owner_id}")
        is_open = case((uploads.c.state.in_(OPEN_STATES), 1), else_=0)
        query = select(func.sum(is_open), func.sum(uploads.c.size_bytes)).where(
            uploads.c.owner_id == owner_id, _IS_KEPT
        )
        row = (await self.connection.execute(query)).one()
        return Usage(int(row[0] or 0), int(row[1] or 0))

    async def add_upload(self, row: UploadRow) -> None:
        await self.connection.execute(insert(uploads).values(_values(row)))

    async def save_upload(self, row: UploadRow) -> None:
        values = _values(row)
        del values["id"]
        await self.connection.execute(update(uploads).where(uploads.c.id == row.id).values(values))

    async def uploads_of_set(self, set_id: int) -> Sequence[UploadRow]:
        query = select(uploads).where(
            uploads.c.set_id == set_id, uploads.c.state.in_((UploadState.TRANSCODING, UploadState.READY))
        )
        return [_upload(row) for row in await self.connection.execute(query.order_by(uploads.c.id))]

    async def claim_avatar(self, upload: UploadRow, key: str) -> str:
        row = {"key": key, "upload_id": upload.id, "owner_id": upload.owner_id, "set_id": upload.set_id}
        await self.connection.execute(upsert(self.uow.db, avatars, row, key=("upload_id",)))
        kept = await self.connection.execute(select(avatars.c.key).where(avatars.c.upload_id == upload.id))
        return str(kept.scalar_one())

    async def drop_avatar(self, upload_id: int) -> None:
        await self.connection.execute(delete(avatars).where(avatars.c.upload_id == upload_id))


class SqlUploadStore:
    """See `UploadStore`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def uploads(self, ids: Sequence[int]) -> Sequence[UploadRow]:
        async with self._db.read() as connection:
            return [_upload(row) for row in await connection.execute(select(uploads).where(uploads.c.id.in_(ids)))]

    async def upload_of_handle(self, handle: str) -> UploadRow | None:
        async with self._db.read() as connection:
            query = select(uploads).where(uploads.c.handle == handle, uploads.c.handle != "")
            row = (await connection.execute(query.limit(1))).one_or_none()
        return None if row is None else _upload(row)

    async def set_progress(self, set_ids: Sequence[int]) -> dict[int, int]:
        if not set_ids:
            return {}
        async with self._db.read() as connection:
            query = select(media_sets.c.id, media_sets.c.progress_percent).where(media_sets.c.id.in_(set_ids))
            return {row.id: row.progress_percent for row in await connection.execute(query)}

    async def ready_set_of(self, owner_id: int, sha256: str, size_bytes: int, is_image: bool) -> int:
        query = (
            select(uploads.c.set_id)
            .join(media_sets, media_sets.c.id == uploads.c.set_id)
            .where(
                *_same_bytes(owner_id, sha256, size_bytes, is_image),
                uploads.c.state == UploadState.READY,
                media_sets.c.state == "READY",
                ~exists().where(banned_digests.c.digest == sha256),
            )
        )
        async with self._db.read() as connection:
            row = (await connection.execute(query.order_by(uploads.c.id.desc()).limit(1))).one_or_none()
        return 0 if row is None else int(row.set_id)

    async def expired(self, now_ms: int, limit: int) -> Sequence[int]:
        query = select(uploads.c.id).where(uploads.c.state == UploadState.RECEIVING, uploads.c.expires_at_ms <= now_ms)
        async with self._db.read() as connection:
            return list((await connection.execute(query.order_by(uploads.c.expires_at_ms).limit(limit))).scalars())

    async def uploads_of(self, owner_id: int, after_id: int, limit: int) -> Sequence[UploadRow]:
        query = select(uploads).where(uploads.c.owner_id == owner_id, uploads.c.id > after_id)
        async with self._db.read() as connection:
            return [_upload(row) for row in await connection.execute(query.order_by(uploads.c.id).limit(limit))]

    async def handles_in_use(self, handles: Sequence[str]) -> set[str]:
        if not handles:
            return set()
        query = select(uploads.c.handle).where(uploads.c.handle.in_(handles), uploads.c.state.in_(_NEEDS_PARTS))
        async with self._db.read() as connection:
            return set((await connection.execute(query)).scalars())

    async def set_progress_percent(self, upload_id: int, percent: int) -> None:
        still = and_(uploads.c.id == upload_id, uploads.c.state == UploadState.VERIFYING)
        async with self._db.write() as connection:
            await connection.execute(update(uploads).where(still).values(progress_percent=percent))


def _same_bytes(owner_id: int, sha256: str, size_bytes: int, is_image: bool) -> tuple[Any, ...]:
    return (
        uploads.c.owner_id == owner_id,
        uploads.c.sha256 == sha256,
        uploads.c.size_bytes == size_bytes,
        uploads.c.is_image == is_image,
    )


def _values(row: UploadRow) -> dict[str, Any]:
    return asdict(row) | {"state": row.state.value, "part_sha256": list(row.part_sha256)}


def _upload(row: Row[Any]) -> UploadRow:
    values = dict(row._mapping)
    values["state"] = UploadState(values["state"])
    values["part_sha256"] = tuple(values["part_sha256"])
    return UploadRow(**values)
