"""The notification log in a relational database: the embedded engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from graph_svc.notifications.store import Fact, NotificationKind
from graph_svc.notifications.stores.tables import notification_claims, notification_facts
from svc_kit.clock import Clock
from svc_kit.db import Database, connect, insert_new, upsert
from svc_kit.ids import created_ms

DAY_MS = 24 * 3_600_000
_F = notification_facts.c
_C = notification_claims.c
_CLAIM_KEY = ("receiver_id", "kind", "actor_id", "subject", "day")


async def open(url: str, own: Database | None = None, *, clock: Clock, keep_days: int) -> SqlNotificationLog:
    """The log in the database at `url`; `own` is used when given (the service's own, whose migrations made the tables),
    else the tables are made. Nothing is forgotten."""
    if own is not None:
        return SqlNotificationLog(own)
    db = connect(url)
    async with db.write() as connection:
        for table in (notification_facts, notification_claims):
            await connection.run_sync(table.create, checkfirst=True)
    return SqlNotificationLog(db, close=True)


class SqlNotificationLog:
    """See `NotificationLog`."""

    def __init__(self, db: Database, *, close: bool = False) -> None:
        self._db = db
        self._close = close

    async def check(self) -> None:
        """Raises UNAVAILABLE when it can't be read."""
        await self._db.check()

    async def close(self) -> None:
        """Close the database, if it is this log's own."""
        if self._close:
            await self._db.close()

    async def append(self, facts: Sequence[Fact]) -> Sequence[Fact]:
        if not facts:
            return []
        # By receiver, so that two writers lock in the same order.
        ordered = sorted(facts, key=lambda f: (f.receiver_id, f.id))

        async def append(connection: AsyncConnection) -> list[Fact]:
            return [fact for fact in ordered if await self._append(connection, fact)]

        return await self._db.transact(append)

    async def _append(self, connection: AsyncConnection, fact: Fact) -> bool:
        skipped = select(_C.fact_id).where(*_same_claim(fact, _skipped(fact)))
        if (await connection.execute(skipped)).one_or_none() is not None:
            return False
        await self._claim(connection, fact, fact.subject, told=True)
        claim = (await connection.execute(select(_C.fact_id, _C.told).where(*_same_claim(fact)))).one()
        if claim.told and claim.fact_id != fact.id:
            return False
        if not claim.told:
            if claim.fact_id == fact.id:
                return False
            await connection.execute(
                update(notification_claims).where(*_same_claim(fact)).values(fact_id=fact.id, told=True)
            )
        held = select(_F.id).where(_F.receiver_id == fact.receiver_id, _F.id == fact.id)
        if (await connection.execute(held)).one_or_none() is not None:
            return False
        last = select(func.max(_F.arrival)).where(_F.receiver_id == fact.receiver_id)
        arrival = ((await connection.execute(last)).scalar_one() or 0) + 1
        await insert_new(connection, notification_facts, [{**_row(fact), "arrival": arrival}])
        return True

    async def skip(self, facts: Sequence[Fact]) -> None:
        if not facts:
            return

        async def claim(connection: AsyncConnection) -> None:
            for fact in sorted(facts, key=lambda f: (f.receiver_id, f.id)):
                await self._claim(connection, fact, _skipped(fact), told=False)

        await self._db.transact(claim)

    async def _claim(self, connection: AsyncConnection, fact: Fact, subject: str, *, told: bool) -> None:
        """Claim the day of a subject for this fact, if nobody has."""
        row = {
            "receiver_id": fact.receiver_id,
            "kind": fact.kind.value,
            "actor_id": fact.actor_id,
            "subject": subject,
            "day": _day(fact),
            "fact_id": fact.id,
            "told": told,
        }
        await connection.execute(upsert(self._db, notification_claims, row, key=_CLAIM_KEY))

    async def newest(self, receiver_id: int, before_id: int, above_id: int, limit: int) -> Sequence[Fact]:
        query = select(notification_facts).where(_F.receiver_id == receiver_id, _F.id > above_id)
        if before_id:
            query = query.where(_F.id < before_id)
        return await self._facts(query.order_by(_F.id.desc()).limit(limit))

    async def get(self, receiver_id: int, ids: Sequence[int]) -> Mapping[int, Fact]:
        query = select(notification_facts).where(_F.receiver_id == receiver_id, _F.id.in_(ids))
        return {fact.id: fact for fact in await self._facts(query)}

    async def after(self, receiver_id: int, fact_id: int, limit: int) -> Sequence[Fact]:
        query = select(notification_facts).where(_F.receiver_id == receiver_id, await self._later(receiver_id, fact_id))
        return await self._facts(query.order_by(_F.arrival).limit(limit))

    async def missed(self, receiver_id: int, fact_id: int, limit: int) -> Sequence[Fact]:
        query = select(notification_facts).where(_F.receiver_id == receiver_id, await self._later(receiver_id, fact_id))
        return list(reversed(await self._facts(query.order_by(_F.arrival.desc()).limit(limit))))

    async def latest(self, receiver_id: int) -> int:
        query = select(_F.id).where(_F.receiver_id == receiver_id).order_by(_F.arrival.desc()).limit(1)
        async with self._db.read() as connection:
            return int((await connection.execute(query)).scalar_one_or_none() or 0)

    async def _later(self, receiver_id: int, fact_id: int) -> ColumnElement[bool]:
        query = select(_F.arrival).where(_F.receiver_id == receiver_id, _F.id == fact_id)
        async with self._db.read() as connection:
            arrival = (await connection.execute(query)).scalar_one_or_none()
        return _F.id > fact_id if arrival is None else _F.arrival > arrival

    async def _facts(self, query: Select[*tuple[Any, ...]]) -> list[Fact]:
        async with self._db.read() as connection:
            return [_to_fact(row) for row in await connection.execute(query)]


def _day(fact: Fact) -> int:
    return created_ms(fact.id) // DAY_MS


def _skipped(fact: Fact) -> str:
    """The subject under which a fact that is not to be told is remembered: each its own, so that none hides another."""
    return f"#{fact.id}"


def _same_claim(fact: Fact, subject: str = "") -> list[ColumnElement[bool]]:
    return [
        _C.receiver_id == fact.receiver_id,
        _C.kind == fact.kind.value,
        _C.actor_id == fact.actor_id,
        _C.subject == (subject or fact.subject),
        _C.day == _day(fact),
    ]


def _row(fact: Fact) -> dict[str, Any]:
    return {
        "receiver_id": fact.receiver_id,
        "id": fact.id,
        "kind": fact.kind.value,
        "actor_id": fact.actor_id,
        "target": fact.target,
        "subject": fact.subject,
        "video_id": fact.video_id,
        "comment_id": fact.comment_id,
        "created_at_ms": fact.created_at_ms,
    }


def _to_fact(row: Row[*tuple[Any, ...]]) -> Fact:
    return Fact(
        receiver_id=row.receiver_id,
        id=row.id,
        kind=NotificationKind(row.kind),
        actor_id=row.actor_id,
        target=row.target,
        subject=row.subject,
        video_id=row.video_id,
        comment_id=row.comment_id,
        created_at_ms=row.created_at_ms,
    )
