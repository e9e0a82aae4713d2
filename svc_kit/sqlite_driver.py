"""SQLAlchemy's aiosqlite adapter with one trip to the connection's thread a statement.

As it comes, a statement costs four trips (open the cursor, execute, fetch all, close), each with two switches of
threads and a wake-up of the loop; on a machine with few cores they are most of what a small read costs.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from typing import Any

from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection, AsyncAdapt_aiosqlite_cursor


class _Finished:
    """A cursor that has run: what it left behind, nothing to close."""

    __slots__ = ("arraysize", "description", "lastrowid", "rowcount")

    def __init__(self) -> None:
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def close(self) -> None:
        return None


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    __slots__ = ()
    _cursor: Any
    _rows: deque[Any]

    def _make_new_cursor(self, connection: Any) -> Any:
        return _Finished()

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        return await self._run("execute", operation, () if parameters is None else parameters)

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> Any:
        return await self._run("executemany", operation, seq_of_parameters)

    async def _run(self, method: str, operation: Any, parameters: Any) -> None:
        connection: Any = self._connection
        async with self._adapt_connection._execute_mutex:
            finished, rows = await connection._execute(_whole, connection._connection, method, operation, parameters)
        self._cursor = finished
        self._rows = deque(rows)


def _whole(connection: sqlite3.Connection, method: str, operation: Any, parameters: Any) -> tuple[_Finished, list[Any]]:
    """Run a statement to its end, in the connection's thread."""
    cursor, finished = connection.cursor(), _Finished()
    try:
        getattr(cursor, method)(operation, parameters)
        finished.description, finished.lastrowid = cursor.description, cursor.lastrowid
        rows = cursor.fetchall() if cursor.description else []
        finished.rowcount = cursor.rowcount
        return finished, rows
    finally:
        cursor.close()


class Connection(AsyncAdapt_aiosqlite_connection):
    """A connection whose cursors run whole; one outside of a transaction has nothing to roll back."""

    __slots__ = ()
    _cursor_cls = _Cursor

    def rollback(self) -> None:
        raw: Any = self._connection
        if raw._connection and raw._connection.in_transaction:
            super().rollback()


def adapt(connection: AsyncAdapt_aiosqlite_connection) -> Connection:
    """The same connection with this module's cursors."""
    return Connection(connection.dbapi, connection._connection)
