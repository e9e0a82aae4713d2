"""Media sets in a relational database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, delete, func, select, update

from media_svc.transcode.store import SetFacts, SetRow, SetState
from media_svc.transcode.stores.tables import banned_digests, media_sets, set_refs
from media_svc.uploads.stores.tables import uploads
from svc_kit.clock import now_ms
from svc_kit.db import Database, insert_new, upsert
from svc_kit.uow import SqlTx

_NO_FACTS = asdict(SetFacts(0, 0, 0, False)) | {"renditions": []}


class SqlSetTx(SqlTx):
    """See `SetTx`."""

    async def media_set(self, set_id: int) -> SetRow | None:
        return await self._one_set(media_sets.c.id == set_id)

    async def set_of_digest(self, digest: str) -> SetRow | None:
        return await self._one_set(media_sets.c.digest == digest)

    async def _one_set(self, condition: Any) -> SetRow | None:
        row = (await self.connection.execute(select(media_sets).where(condition).with_for_update())).one_or_none()
        return None if row is None else _set(row)

    async def add_set(self, row: SetRow) -> None:
        since = now_ms(self.uow.clock)
        values = asdict(row) | {"state": row.state.value, "progress_percent": 0, "unused_since_ms": since} | _NO_FACTS
        await insert_new(self.connection, media_sets, [values])

    async def delete_set(self, set_id: int) -> None:
        await self.connection.execute(delete(media_sets).where(media_sets.c.id == set_id))

    async def complete_set(self, set_id: int, facts: SetFacts) -> None:
        values = asdict(facts) | {"renditions": [asdict(r) for r in facts.renditions]}
        ready = update(media_sets).where(media_sets.c.id == set_id)
        await self.connection.execute(ready.values(state=SetState.READY.value, progress_percent=100, **values))

    async def fail_set(self, set_id: int, code: str, reason: str) -> None:
        failed = update(media_sets).where(media_sets.c.id == set_id)
        await self.connection.execute(
            failed.values(state=SetState.FAILED.value, failure_code=code, failure_reason=reason)
        )

    async def hold_set(self, set_id: int, upload_id: int) -> None:
        ref = {"set_id": set_id, "upload_id": upload_id}
        await self.connection.execute(upsert(self.uow.db, set_refs, ref, key=("set_id", "upload_id")))
        used = update(media_sets).where(media_sets.c.id == set_id)
        await self.connection.execute(used.values(unused_since_ms=None))

    async def drop_set(self, set_id: int, upload_id: int) -> int:
        await self.connection.execute(
            delete(set_refs).where(set_refs.c.set_id == set_id, set_refs.c.upload_id == upload_id)
        )
        count = select(func.count()).select_from(set_refs).where(set_refs.c.set_id == set_id)
        left = int((await self.connection.execute(count)).scalar_one())
        if not left:
            unused = update(media_sets).where(media_sets.c.id == set_id, media_sets.c.unused_since_ms.is_(None))
            await self.connection.execute(unused.values(unused_since_ms=now_ms(self.uow.clock)))
        return left

    async def ban_digest(self, digest: str, reason: str) -> None:
        row = {"digest": digest, "reason": reason, "created_at_ms": now_ms(self.uow.clock)}
        await self.connection.execute(upsert(self.uow.db, banned_digests, row, key=("digest",)))

    async def is_banned(self, digest: str) -> bool:
        query = select(banned_digests.c.digest).where(banned_digests.c.digest == digest)
        return (await self.connection.execute(query)).first() is not None

    async def retire_set(self, set_id: int, unused_since_ms: int) -> SetRow | None:
        row = await self._one_set(_unused(unused_since_ms) & (media_sets.c.id == set_id))
        if row is not None:
            await self.fail_set(set_id, "UNUSED", "")
        return row


class SqlSetStore:
    """See `SetStore`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def media_set(self, set_id: int) -> SetRow | None:
        async with self._db.read() as connection:
            row = (await connection.execute(select(media_sets).where(media_sets.c.id == set_id))).one_or_none()
        return None if row is None else _set(row)

    async def note_progress(self, set_id: int, percent: int) -> Sequence[int]:
        pending = (media_sets.c.id == set_id) & (media_sets.c.state == SetState.PENDING.value)
        async with self._db.write() as connection:
            await connection.execute(update(media_sets).where(pending).values(progress_percent=percent))
            waiting = select(uploads.c.id).where(uploads.c.set_id == set_id, uploads.c.state == "TRANSCODING")
            return list((await connection.execute(waiting)).scalars())

    async def unused_sets(self, unused_since_ms: int, limit: int) -> Sequence[int]:
        async with self._db.read() as connection:
            query = select(media_sets.c.id).where(_unused(unused_since_ms)).limit(limit)
            return list((await connection.execute(query)).scalars())

    async def known_blobs(self, keys: Sequence[str]) -> set[str]:
        if not keys:
            return set()
        async with self._db.read() as connection:
            query = select(media_sets.c.blob_key).where(media_sets.c.blob_key.in_(keys))
            return set((await connection.execute(query)).scalars())


def _unused(since_ms: int) -> Any:
    return media_sets.c.unused_since_ms.is_not(None) & (media_sets.c.unused_since_ms <= since_ms)


def _set(row: Row[Any]) -> SetRow:
    return SetRow(
        id=row.id,
        digest=row.digest,
        is_image=row.is_image,
        state=SetState(row.state),
        blob_key=row.blob_key,
        size_bytes=row.size_bytes,
        failure_code=row.failure_code,
        failure_reason=row.failure_reason,
    )
