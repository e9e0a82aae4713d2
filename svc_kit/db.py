"""Relational truth by SQLAlchemy: one `Database` a service, SQLite (WAL) embedded, PostgreSQL or MySQL by URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from sqlalchemy import Insert, Table, event, literal, make_url, select
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from svc_kit.errors import unavailable
from svc_kit.telemetry import log

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
}
BUSY_TIMEOUT_MS = 5000
_log = log(__name__)


class Database:
    """Connections of one service's database.

    `committed` is set after each write transaction that said it emitted events; the outbox relay waits on it.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.committed = asyncio.Event()
        # SQLite has one writer: waiting in process is fair and costs nothing, while its busy handler sleeps and polls.
        self._gate: AbstractAsyncContextManager[Any] | None = None
        self._serial = engine.dialect.name == "sqlite"

    @property
    def dialect(self) -> str:
        """`sqlite`, `postgresql` or `mysql`."""
        return self.engine.dialect.name

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reads; whatever it did is rolled back."""
        with _translated():
            async with self.engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction: committed when the block ends, rolled back when it raises."""
        if self._serial and self._gate is None:
            self._gate = asyncio.Lock()
        with _translated():
            async with self._gate or nullcontext(), self.engine.connect() as connection:
                if self._serial:
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    await connection.rollback()
                    raise
                await connection.commit()

    async def check(self) -> None:
        """Raise UNAVAILABLE when it can't be read."""
        async with self.read() as connection:
            await connection.execute(select(literal(1)))

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


class _translated:
    """Driver errors become UNAVAILABLE when trying again may help; their text stays in the logs."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OperationalError, InterfaceError, PoolTimeoutError)):
            _log.warning("database failed", error=str(error.__cause__ or error))
            raise unavailable("The database can't be reached or is too busy.") from error


def connect(url: str, *, pool_size: int = 8) -> Database:
    """Open a database by URL: `sqlite:///path`, `postgresql://...`, `mysql://...`. Nothing is contacted yet."""
    parsed = make_url(url)
    driver = DRIVERS.get(parsed.drivername)
    if driver is None:
        raise ValueError(f"database URL {parsed.drivername}://: unknown scheme; valid: {', '.join(sorted(DRIVERS))}")
    engine = create_async_engine(parsed.set(drivername=driver), pool_size=pool_size, max_overflow=0, pool_timeout=5)
    if driver.startswith("sqlite"):
        _configure_sqlite(engine)
    return Database(engine)


def _configure_sqlite(engine: AsyncEngine) -> None:
    def on_connect(connection: Any, _record: object) -> None:
        # The driver's own transaction control begins DEFERRED, which fails late under a second writer.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def do_connect(dialect: Any, _record: object, arguments: Any, options: Any) -> Any:
        from svc_kit.sqlite_driver import adapt

        return adapt(dialect.connect(*arguments, **options))

    event.listen(engine.sync_engine, "do_connect", do_connect)
    event.listen(engine.sync_engine, "connect", on_connect)


def upsert(
    database: Database,
    table: Table,
    rows: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    key: Iterable[str],
    update: Iterable[str] | Callable[[Any], Mapping[str, Any]] = (),
) -> Insert:
    """INSERT that updates columns `update` where `key` exists; without `update`, leaves such rows alone.

    `update` may be a function of the dialect's `excluded` row that returns column -> expression.
    """
    values = [rows] if isinstance(rows, Mapping) else list(rows)
    key = list(key)
    if database.dialect == "mysql":
        my = mysql.insert(table).values(values)
        changes = update(my.inserted) if callable(update) else {c: my.inserted[c] for c in update}
        return my.on_duplicate_key_update(changes or {key[0]: table.c[key[0]]})
    statement: Any = (postgresql if database.dialect == "postgresql" else sqlite).insert(table).values(values)
    changes = update(statement.excluded) if callable(update) else {c: statement.excluded[c] for c in update}
    if not changes:
        return statement.on_conflict_do_nothing(index_elements=key)  # type: ignore[no-any-return]
    return statement.on_conflict_do_update(index_elements=key, set_=changes)  # type: ignore[no-any-return]


__all__ = ["BUSY_TIMEOUT_MS", "Database", "SQLAlchemyError", "connect", "upsert"]
