"""SQLite in WAL mode: the embedded engine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from svc_kit.databases.engine import Engine
from svc_kit.databases.pool import POOL_WAIT_S
from svc_kit.databases.url import for_driver, pool_size_of

BUSY_TIMEOUT_MS = 5000


def open_engine(url: str, pool_size: int, _command_s: float) -> Engine:
    """`sqlite:///path`; nothing is opened yet."""
    engine = create_async_engine(
        make_url(for_driver(url, {})).set(drivername="sqlite+aiosqlite"),
        pool_size=pool_size_of(url, pool_size),
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
    )
    _configure(engine)
    return Engine(engine, begin="BEGIN IMMEDIATE", begin_snapshot=["BEGIN IMMEDIATE"], has_one_writer=True)


def _configure(engine: AsyncEngine) -> None:
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
