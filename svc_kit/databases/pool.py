"""Connections of a pool that the server has closed, or that nobody has used for long, are replaced before use."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

CONNECT_S = 5.0
COMMAND_S = 20.0
"""After this a statement's connection is given up; the server ends it earlier."""
SERVER_SHARE = 0.75
LOCK_S = 5
POOL_WAIT_S = 5.0
IDLE_S = 60.0
"""A connection idle for longer is asked before it is used: what lies between may have dropped it silently."""
OPTIONS: dict[str, Any] = {
    "max_overflow": 0,
    "pool_timeout": POOL_WAIT_S,
    "pool_use_lifo": True,
    "pool_recycle": 3600,
    "isolation_level": "AUTOCOMMIT",
    "skip_autocommit_rollback": True,
}


def replace_dead_connections(engine: AsyncEngine, is_closed: Callable[[Any], bool]) -> None:
    """`is_closed` tells of a driver's connection, without asking the server, whether its socket is gone."""
    pool, dialect = engine.sync_engine.pool, engine.sync_engine.dialect

    def on_checkout(connection: Any, record: Any, _proxy: object) -> None:
        if is_closed(record.driver_connection):
            raise DisconnectionError("closed by the server")
        if time.monotonic() - record.info.get("used_at", float("inf")) > IDLE_S:
            try:
                dialect.do_ping(connection)
            except Exception as error:
                raise DisconnectionError("lost while idle") from error

    def on_checkin(_connection: object, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    event.listen(pool, "checkout", on_checkout)
    event.listen(pool, "checkin", on_checkin)
