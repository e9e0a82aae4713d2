"""The watermarks in the service's database."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from sqlalchemy import case, select

from graph_svc.notifications.stores.tables import notification_marks
from svc_kit.caller import Caller
from svc_kit.db import upsert
from svc_kit.uow import SqlTx, UnitOfWork, begin

_M = notification_marks.c


class SqlMarkTx(SqlTx):
    """See `MarkTx`."""

    async def raise_mark(self, user_id: int, up_to_id: int) -> None:
        await self.connection.execute(
            upsert(
                self.uow.db,
                notification_marks,
                {"user_id": user_id, "up_to_id": up_to_id},
                key=["user_id"],
                update=lambda new: {"up_to_id": case((new.up_to_id > _M.up_to_id, new.up_to_id), else_=_M.up_to_id)},
            )
        )


class SqlMarkStore:
    """See `MarkStore`."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[SqlMarkTx]:
        return begin(SqlMarkTx, self._uow, caller)

    async def mark(self, user_id: int) -> int:
        async with self._uow.db.read() as connection:
            row = (await connection.execute(select(_M.up_to_id).where(_M.user_id == user_id))).one_or_none()
        return 0 if row is None else int(row.up_to_id)
