"""Relational truth by SQLAlchemy: one `Database` a service, SQLite (WAL) embedded, PostgreSQL or MySQL by URL."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    LargeBinary,
    Select,
    String,
    Table,
    and_,
    any_,
    bindparam,
    insert,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from svc_kit.backends import resolve
from svc_kit.databases import SCHEMES
from svc_kit.databases.engine import Engine
from svc_kit.databases.errors import Conflicted, again_on_conflict, translate, translated, unreachable
from svc_kit.databases.guard import Guard
from svc_kit.databases.pool import COMMAND_S
from svc_kit.databases.url import service_url

SETTING = "database URL"
T = TypeVar("T")


def ordered_text(length: int) -> String:
    """A VARCHAR that every engine sorts by code point: what is listed in its order is the same everywhere."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def blob(length: int | None = None) -> LargeBinary:
    """Bytes of at most `length`, or of any: MySQL's plain BLOB ends at 64 KiB."""
    return LargeBinary(length).with_variant(mysql.VARBINARY(length) if length else mysql.LONGBLOB(), "mysql")


class ByIds:
    """A read by a list of ids that is run all the time: made once, for `Database.by_ids`."""

    def __init__(self, statement: Select[*tuple[Any, ...]], column: ColumnElement[int]) -> None:
        self.expanding = statement.where(column.in_(bindparam("ids", expanding=True)))
        # One statement whatever the number of ids: the server plans it once.
        array = statement.where(column == any_(bindparam("ids", type_=postgresql.ARRAY(BigInteger))))
        dialect = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]
        self.postgresql = str(array.compile(dialect=dialect))


class Database:
    """Connections of one service's database.

    `committed` is set after each write transaction that said it emitted events; the outbox relay waits on it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine.sqlalchemy
        self.committed = asyncio.Event()
        self._direct = engine.direct
        self._begin = {False: (engine.begin,), True: tuple(engine.begin_snapshot)}
        # SQLite has one writer: waiting in process is fair and costs nothing, while its busy handler sleeps and polls.
        self._gate: AbstractAsyncContextManager[Any] | None = None
        self._serial = engine.has_one_writer
        # A file does not fall silent: whoever waits long there waits for a turn.
        self._guard = Guard(failures=math.inf) if self._serial else Guard()

    @property
    def dialect(self) -> str:
        """`sqlite`, `postgresql` or `mysql`."""
        return self.engine.dialect.name

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reads. Each statement sees what is committed when it begins."""
        with self._guard.use(), translated():
            connection = await self._connect()
            try:
                yield connection
            finally:
                await _close(connection)

    @asynccontextmanager
    async def write(self, *, snapshot: bool = False) -> AsyncIterator[AsyncConnection]:
        """A write transaction: committed when the block ends, rolled back when it raises.

        Isolation is READ COMMITTED, on SQLite one after the other: rows that a decision rests on are read FOR UPDATE.
        With `snapshot` all its plain reads see one moment.
        Raises `Conflicted` (an UNAVAILABLE) when it met another transaction."""
        if self._serial and self._gate is None:
            self._gate = asyncio.Lock()
        with self._guard.use(), translated():
            async with self._gate or nullcontext():
                connection = await self._connect()
                try:
                    for statement in self._begin[snapshot]:
                        await connection.exec_driver_sql(statement)
                    yield connection
                    await connection.exec_driver_sql("COMMIT")
                except BaseException:
                    await _roll_back(connection)
                    raise
                finally:
                    await _close(connection)

    async def transact(self, body: Callable[[AsyncConnection], Awaitable[T]], *, snapshot: bool = False) -> T:
        """Run `body` in a write transaction (see `write`), and again (a few times) when it met another one."""

        async def once() -> T:
            async with self.write(snapshot=snapshot) as connection:
                return await body(connection)

        return await again_on_conflict(once)

    async def by_ids(self, query: ByIds, ids: Sequence[int]) -> Sequence[Sequence[Any]]:
        """The rows of `query` for `ids`, in no order."""
        if not ids:
            return []
        if self._direct is not None:
            with self._guard.use():
                return await self._direct.fetch(query.postgresql, list(ids))
        async with self.read() as connection:
            return (await connection.execute(query.expanding, {"ids": list(ids)})).all()

    async def _connect(self) -> AsyncConnection:
        try:
            return await self.engine.connect()
        except (OSError, TimeoutError) as error:
            raise unreachable(error) from error
        except SQLAlchemyError as error:
            known = translate(error)
            if known is None and self._serial:
                raise  # no file of ours
            # Whatever keeps us out (a wrong password too) may be put right while we go on trying.
            raise known or unreachable(error) from error

    async def check(self) -> None:
        """Raise UNAVAILABLE when it can't be read."""
        async with self.read() as connection:
            await connection.execute(select(literal(1)))

    async def close(self) -> None:
        """Close all connections."""
        if self._direct is not None:
            await self._direct.close()
        await self.engine.dispose()


async def _close(connection: AsyncConnection) -> None:
    # To its end, also when the caller is cancelled meanwhile: a connection that is half given back is lost.
    await asyncio.shield(asyncio.create_task(connection.close()))


async def _roll_back(connection: AsyncConnection) -> None:
    if connection.invalidated:
        return  # closed, as after a statement that was cancelled: the server rolls back
    try:
        await connection.exec_driver_sql("ROLLBACK")
    except Exception:
        await connection.invalidate()


def connect(url: str, *, pool_size: int = 8, command_s: float = COMMAND_S) -> Database:
    """Open a database by URL: `sqlite:///path`, `postgresql://...`, `mysql://...`. Nothing is contacted yet.

    `?pool_size=` bounds the connections; other options are the engine's, see `svc_kit.databases`. A statement that
    takes longer than `command_s` is given up. Raises ValueError for an unknown scheme or option.
    """
    return Database(resolve(SETTING, url, SCHEMES).open_engine(url, pool_size, command_s))


async def verify(url: str) -> str:
    """What the server at `url` is; empty for SQLite. Looks at no table: `svc_kit.migrate` does. Raises
    `svc_kit.backends.EngineUnusable`."""
    check = getattr(resolve(SETTING, url, SCHEMES), "verify", None)
    return "" if check is None else str(await check(url))


async def prepare(url: str) -> None:
    """Make the database or schema that `url` names, where it is absent. Raises `svc_kit.backends.EngineUnusable`."""
    make = getattr(resolve(SETTING, url, SCHEMES), "prepare", None)
    if make is not None:
        await make(url)


def upsert(
    database: Database,
    table: Table,
    rows: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    key: Iterable[str],
    update: Iterable[str] | Callable[[Any], Mapping[str, Any]] = (),
) -> Insert:
    """INSERT that updates columns `update` where `key` exists; without `update`, leaves such rows alone.

    `update` may be a function of the dialect's `excluded` row that returns column -> expression. MySQL assigns from
    left to right, in the order of that mapping: a column that other expressions read comes last.
    """
    values = [rows] if isinstance(rows, Mapping) else list(rows)
    key = list(key)
    if database.dialect == "mysql":
        my = mysql.insert(table).values(values)
        changes = update(my.inserted) if callable(update) else {c: my.inserted[c] for c in update}
        # As a list: of a mapping SQLAlchemy takes the table's order.
        return my.on_duplicate_key_update(list((changes or {key[0]: table.c[key[0]]}).items()))
    statement: Any = (postgresql if database.dialect == "postgresql" else sqlite).insert(table).values(values)
    changes = update(statement.excluded) if callable(update) else {c: statement.excluded[c] for c in update}
    if not changes:
        return statement.on_conflict_do_nothing(index_elements=key)  # type: ignore[no-any-return]
    return statement.on_conflict_do_update(index_elements=key, set_=changes)  # type: ignore[no-any-return]


def after(columns: Sequence[ColumnElement[Any]], key: Sequence[Any]) -> ColumnElement[bool]:
    """Rows after `key` in the order of two columns, without a row value: MySQL finds no index for one."""
    (first, second), (one, other) = columns, key
    return and_(first >= one, or_(first > one, second > other))


async def insert_absent(
    database: Database, connection: AsyncConnection, table: Table, row: Mapping[str, Any], *, key: Iterable[str]
) -> bool:
    """Insert a row unless there is one with its `key`; whether it was inserted. Of two at once one inserts it."""
    if database.dialect == "mysql":
        # Its upsert counts a row that was there as one that was found.
        try:
            await connection.execute(insert(table).values(row))
        except IntegrityError:
            return False
        return True
    return bool((await connection.execute(upsert(database, table, row, key=key))).rowcount)


async def insert_new(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that were found absent; `Conflicted` when another transaction was faster."""
    try:
        await connection.execute(insert(table), list(rows))
    except IntegrityError as error:
        raise Conflicted from error


__all__ = [
    "ByIds",
    "Conflicted",
    "Database",
    "SQLAlchemyError",
    "after",
    "again_on_conflict",
    "blob",
    "connect",
    "insert_absent",
    "insert_new",
    "ordered_text",
    "prepare",
    "service_url",
    "upsert",
    "verify",
]
