"""The record of promotions in the service's database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from sqlalchemy import RowMapping, func, insert, select

from rank_svc.scorers.store import ModelTx, Promotion
from rank_svc.scorers.stores.tables import promotions
from svc_kit.caller import Caller
from svc_kit.leases import exclusive
from svc_kit.uow import SqlTx, UnitOfWork, begin


class SqlModelTx(SqlTx):
    """See `ModelTx`."""

    async def promotion(self) -> Promotion | None:
        # Two replicas that switch at once: the second waits, and finds it done.
        await exclusive(self.uow.db, self.connection, "promotions")
        query = select(promotions).order_by(promotions.c.number.desc()).limit(1)
        row = (await self.connection.execute(query)).mappings().one_or_none()
        return None if row is None else _promotion(row)

    async def promote(self, promotion: Promotion) -> int:
        number = (await self.connection.scalar(select(func.coalesce(func.max(promotions.c.number), 0))) or 0) + 1
        values = {"version": promotion.version, "previous": promotion.previous, "since_ms": promotion.since_ms}
        await self.connection.execute(insert(promotions).values(number=number, **values))
        return number


class SqlModelLog:
    """See `ModelLog`."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[ModelTx]:
        return begin(SqlModelTx, self._uow, caller)

    async def history(self, limit: int = 20) -> Sequence[Promotion]:
        query = select(promotions).order_by(promotions.c.number.desc()).limit(limit)
        async with self._uow.db.read() as connection:
            return [_promotion(row) for row in (await connection.execute(query)).mappings()]


def _promotion(row: RowMapping) -> Promotion:
    return Promotion(row["version"], row["previous"], row["since_ms"])
