"""The truth of likes, comments and shares in the service's database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from graph_svc.engagement.store import Likable, Like, StoredComment, StoredShare
from graph_svc.engagement.stores.tables import comment_likes, comments, gone_videos, likes, shares, user_comments
from svc_kit.caller import Caller
from svc_kit.db import insert_new, upsert
from svc_kit.uow import SqlTx, UnitOfWork, begin

_C = comments.c
_LIKES: dict[Likable, tuple[Table, ColumnElement[int]]] = {
    Likable.VIDEO: (likes, likes.c.video_id),
    Likable.COMMENT: (comment_likes, comment_likes.c.comment_id),
}


class SqlEngagementTx(SqlTx):
    """See `EngagementTx`."""

    def __init__(self, connection: AsyncConnection, uow: UnitOfWork, caller: Caller) -> None:
        super().__init__(connection, uow, caller)
        # No lock can be had on a row that is not there: whoever found none inserts it, or meets who was faster.
        self._absent: set[tuple[Likable, int, int]] = set()

    def new_id(self) -> int:
        return self.uow.ids.next()

    async def like(self, kind: Likable, user_id: int, subject_id: int) -> Like | None:
        table, subject = _LIKES[kind]
        query = select(table.c.author_id, table.c.active, table.c.version).with_for_update()
        found = await self.connection.execute(query.where(table.c.user_id == user_id, subject == subject_id))
        row = found.one_or_none()
        if row is None:
            self._absent.add((kind, user_id, subject_id))
            return None
        return Like(user_id, subject_id, row.author_id, bool(row.active), row.version)

    async def put_like(self, kind: Likable, like: Like) -> None:
        table, subject = _LIKES[kind]
        row = {
            "user_id": like.user_id,
            str(subject.key): like.subject_id,
            "author_id": like.author_id,
            "active": like.active,
            "version": like.version,
        }
        if (kind, like.user_id, like.subject_id) in self._absent:
            self._absent.discard((kind, like.user_id, like.subject_id))
            await insert_new(self.connection, table, [row])
            return
        key = [column.name for column in table.primary_key]
        await self.connection.execute(upsert(self.uow.db, table, row, key=key, update=["active", "version"]))

    async def comment(self, comment_id: int) -> StoredComment | None:
        query = select(comments).where(_C.id == comment_id).with_for_update()
        row = (await self.connection.execute(query)).one_or_none()
        return None if row is None else _to_comment(row)

    async def add_comment(self, comment: StoredComment) -> None:
        await self.connection.execute(insert(comments).values(asdict(comment)))
        listed = {"user_id": comment.author_id, "comment_id": comment.id, "video_id": comment.video_id}
        await self.connection.execute(insert(user_comments).values(listed))

    async def erase_comment(self, comment: StoredComment, version: int) -> None:
        same = (_C.video_id == comment.video_id, _C.id == comment.id)
        await self.connection.execute(update(comments).where(*same).values(text=None, version=version))
        listed = user_comments.c
        await self.connection.execute(
            delete(user_comments).where(listed.user_id == comment.author_id, listed.comment_id == comment.id)
        )

    async def standing_comments(self, video_id: int, limit: int) -> Sequence[StoredComment]:
        query = select(comments).where(_C.video_id == video_id, _C.text.is_not(None)).limit(limit)
        return [_to_comment(row) for row in await self.connection.execute(query)]

    async def add_share(self, share: StoredShare) -> None:
        await self.connection.execute(insert(shares).values(asdict(share)))

    async def is_gone(self, video_id: int) -> bool:
        query = select(gone_videos.c.video_id).where(gone_videos.c.video_id == video_id)
        return (await self.connection.execute(query)).one_or_none() is not None

    async def mark_gone(self, video_id: int) -> None:
        await self.connection.execute(upsert(self.uow.db, gone_videos, {"video_id": video_id}, key=["video_id"]))


class SqlEngagementStore:
    """See `EngagementStore`."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[SqlEngagementTx]:
        return begin(SqlEngagementTx, self._uow, caller)

    async def liked(self, kind: Likable, user_id: int, subject_ids: Sequence[int]) -> frozenset[int]:
        if not user_id or not subject_ids:
            return frozenset()
        table, subject = _LIKES[kind]
        query = select(subject).where(table.c.user_id == user_id, subject.in_(subject_ids), table.c.active)
        async with self._uow.db.read() as connection:
            return frozenset((await connection.execute(query)).scalars())

    async def comments(self, ids: Sequence[int]) -> Mapping[int, StoredComment]:
        return {c.id: c for c in await self._comments(select(comments).where(_C.id.in_(ids)))} if ids else {}

    async def top_level(self, video_id: int, before_id: int, limit: int) -> Sequence[StoredComment]:
        reply = comments.alias("reply")
        answered = (
            select(reply.c.id)
            .where(reply.c.video_id == _C.video_id, reply.c.parent_id == _C.id, reply.c.text.is_not(None))
            .exists()
        )
        query = select(comments).where(_C.video_id == video_id, _C.parent_id == 0)
        query = query.where(or_(_C.text.is_not(None), and_(_C.text.is_(None), answered)))
        if before_id:
            query = query.where(_C.id < before_id)
        return await self._comments(query.order_by(_C.id.desc()).limit(limit))

    async def replies(self, video_id: int, parent_id: int, after_id: int, limit: int) -> Sequence[StoredComment]:
        query = _standing(video_id, after_id).where(_C.parent_id == parent_id)
        return await self._comments(query.order_by(_C.id).limit(limit))

    async def written(self, video_id: int, after_id: int, limit: int) -> Sequence[StoredComment]:
        return await self._comments(_standing(video_id, after_id).order_by(_C.id).limit(limit))

    async def written_last(self, video_id: int, after_id: int, limit: int) -> Sequence[StoredComment]:
        newest = await self._comments(_standing(video_id, after_id).order_by(_C.id.desc()).limit(limit))
        return list(reversed(newest))

    async def latest(self, video_id: int) -> int:
        async with self._uow.db.read() as connection:
            found = await connection.execute(select(func.max(_C.id)).where(_C.video_id == video_id))
            return int(found.scalar_one() or 0)

    async def _comments(self, query: Select[*tuple[Any, ...]]) -> list[StoredComment]:
        async with self._uow.db.read() as connection:
            return [_to_comment(row) for row in await connection.execute(query)]


def _standing(video_id: int, after_id: int) -> Select[*tuple[Any, ...]]:
    return select(comments).where(_C.video_id == video_id, _C.id > after_id, _C.text.is_not(None))


def _to_comment(row: Row[*tuple[Any, ...]]) -> StoredComment:
    return StoredComment(
        id=row.id,
        video_id=row.video_id,
        author_id=row.author_id,
        video_author_id=row.video_author_id,
        parent_id=row.parent_id,
        text=row.text,
        version=row.version,
        created_at_ms=row.created_at_ms,
    )
