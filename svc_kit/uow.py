"""The unit of work: state, events and the stored reply of a command commit together or not at all.

A domain's `stores/sql.py` derives its transaction from `SqlTx`; its commands are marked `@idempotent` and end with
`return await tx.reply(result)`.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Concatenate, Protocol, TypeVar, get_type_hints

from google.protobuf.message import Message
from pydantic import TypeAdapter
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from reelgraph.events.v1.event_pb2 import Event
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.db import Database, again_on_conflict, blob
from svc_kit.errors import UserCode, conflict
from svc_kit.ids import IdGenerator
from svc_kit.unit import R

REPLY_TTL_MS = 24 * 3600 * 1000
MIN_KEY, MAX_KEY = 16, 64


def outbox_table(metadata: MetaData) -> Table:
    """Events written with their cause, until the relay has published them (and an hour longer, for
    read-your-writes)."""
    table = Table(
        "outbox",
        metadata,
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("event_id", BigInteger, nullable=False, unique=True),
        Column("topic", String(32), nullable=False),
        Column("key", BigInteger, nullable=False),
        Column("entity", String(128), nullable=False),
        Column("payload", blob(), nullable=False),
        Column("created_at_ms", BigInteger, nullable=False),
        Column("published_at_ms", BigInteger),
    )
    Index("outbox_unpublished", table.c.published_at_ms, table.c.seq)
    Index("outbox_by_key", table.c.key, table.c.created_at_ms)
    return table


def replies_table(metadata: MetaData) -> Table:
    """Replies of commands by idempotency key, for 24 hours."""
    table = Table(
        "replies",
        metadata,
        Column("user_id", BigInteger, primary_key=True, autoincrement=False),
        Column("method", String(128), primary_key=True),
        Column("key", String(MAX_KEY), primary_key=True),
        Column("input_digest", blob(32), nullable=False),
        Column("reply", blob(), nullable=False),
        Column("created_at_ms", BigInteger, nullable=False),
    )
    Index("replies_by_age", table.c.created_at_ms)
    return table


class _Replayed(Exception):
    """Another transaction stored a reply under the same key first."""


class UnitOfWork:
    """Opens a service's write transactions. Built once a service, handed to its stores."""

    def __init__(self, db: Database, outbox: Table, replies: Table, ids: IdGenerator, clock: Clock) -> None:
        self.db = db
        self.outbox = outbox
        self.replies = replies
        self.ids = ids
        self.clock = clock

    async def find_reply(self, caller: Caller) -> bytes | None:
        """The stored reply of this caller, method and key; raises KEY_REUSED when the input was another."""
        r = self.replies
        async with self.db.read() as connection:
            row = (
                await connection.execute(
                    select(r.c.input_digest, r.c.reply).where(
                        r.c.user_id == caller.user_id,
                        r.c.method == caller.method,
                        r.c.key == caller.idempotency_key,
                        r.c.created_at_ms > now_ms(self.clock) - REPLY_TTL_MS,
                    )
                )
            ).one_or_none()
        if row is None:
            return None
        if row.input_digest != caller.input_digest:
            raise conflict(
                "idempotency_key", "This idempotency key came before with another input.", UserCode.KEY_REUSED
            )
        return bytes(row.reply)

    async def prune_replies(self, limit: int = 1000) -> int:
        """Remove stored replies older than 24 h; returns how many."""
        r = self.replies
        async with self.db.write() as connection:
            old = select(r.c.user_id, r.c.method, r.c.key).where(r.c.created_at_ms <= now_ms(self.clock) - REPLY_TTL_MS)
            rows = (await connection.execute(old.limit(limit))).all()
            for row in rows:
                await connection.execute(
                    delete(r).where(r.c.user_id == row.user_id, r.c.method == row.method, r.c.key == row.key)
                )
        return len(rows)


class SqlTx:
    """One open write transaction. Domains derive from it and add their rows."""

    def __init__(self, connection: AsyncConnection, uow: UnitOfWork, caller: Caller) -> None:
        self.connection = connection
        self.uow = uow
        self.caller = caller
        self._events: list[dict[str, Any]] = []

    def emit(self, *, entity: str, version: int, actor_id: int, **body: Message) -> int:
        """See `Unit.emit`."""
        ((field, message),) = body.items()
        event = Event(
            id=self.uow.ids.next(),
            actor_id=actor_id,
            entity=entity,
            entity_version=version,
            request_id=self.caller.request_id,
        )
        event.occurred_at.FromDatetime(self.uow.clock.now())
        getattr(event, field).CopyFrom(message)
        self._events.append(
            {
                "event_id": event.id,
                "topic": field.partition("_")[0],
                "key": actor_id,
                "entity": entity,
                "payload": event.SerializeToString(),
                "created_at_ms": now_ms(self.uow.clock),
            }
        )
        return event.id

    async def reply(self, result: R) -> R:
        """See `Unit.reply`."""
        if self.caller.idempotency_key:
            values = {
                "user_id": self.caller.user_id,
                "method": self.caller.method,
                "key": self.caller.idempotency_key,
                "input_digest": self.caller.input_digest,
                "reply": TypeAdapter(type(result)).dump_json(result),
                "created_at_ms": now_ms(self.uow.clock),
            }
            r = self.uow.replies
            await self.connection.execute(
                delete(r).where(
                    r.c.user_id == self.caller.user_id,
                    r.c.method == self.caller.method,
                    r.c.key == self.caller.idempotency_key,
                    r.c.created_at_ms <= now_ms(self.uow.clock) - REPLY_TTL_MS,
                )
            )
            try:
                await self.connection.execute(insert(r).values(values))
            except IntegrityError as error:
                raise _Replayed from error
        return result

    async def flush_events(self) -> bool:
        """Write what was emitted; true when there was any."""
        if self._events:
            await self.connection.execute(insert(self.uow.outbox), self._events)
        return bool(self._events)


T = TypeVar("T", bound=SqlTx)


@asynccontextmanager
async def begin(
    kind: Callable[[AsyncConnection, UnitOfWork, Caller], T], uow: UnitOfWork, caller: Caller
) -> AsyncIterator[T]:
    """Open a transaction of a domain: rows, events and reply commit together, then the relay is woken."""
    async with uow.db.write() as connection:
        tx = kind(connection, uow, caller)
        yield tx
        emitted = await tx.flush_events()
    if emitted:
        uow.db.committed.set()


class _HasReplies(Protocol):
    async def find_reply(self, caller: Caller) -> bytes | None: ...


class Commands(Protocol):
    """What `@idempotent` needs of a domain's commands: where replies are kept."""

    @property
    def replies(self) -> _HasReplies: ...


C = TypeVar("C", bound=Commands)


def idempotent(
    body: Callable[Concatenate[C, Caller, ...], Awaitable[R]],
) -> Callable[Concatenate[C, Caller, ...], Awaitable[R]]:
    """Mark a command: the same viewer, method, key and input answer as at first for 24 h, without running it again.

    One whose transaction met another is run again from its beginning, a few times. The command's result type (its
    return annotation) must be a dataclass that pydantic can write and read as JSON.
    """

    @functools.wraps(body)
    async def run(self: C, caller: Caller, /, *args: Any, **kwargs: Any) -> R:
        async def once() -> R:
            return await body(self, caller, *args, **kwargs)

        if not caller.idempotency_key:
            return await again_on_conflict(once)
        adapter: TypeAdapter[R] = TypeAdapter(get_type_hints(body)["return"])
        stored = await self.replies.find_reply(caller)
        if stored is None:
            try:
                return await again_on_conflict(once)
            except _Replayed:
                stored = await self.replies.find_reply(caller)
                if stored is None:
                    raise
        return adapter.validate_json(stored)

    return run
