"""SQLAlchemy's asyncmy adapter with a time limit a statement.

asyncmy's own `read_timeout` waits by `asyncio.wait_for`, which on Python 3.11 loses a cancellation that comes together
with the answer: a worker that is told to stop would go on.
"""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy.dialects.mysql.asyncmy import AsyncAdapt_asyncmy_connection, AsyncAdapt_asyncmy_cursor


class _Cursor(AsyncAdapt_asyncmy_cursor):
    __slots__ = ()
    _adapt_connection: Any

    async def _execute_async(self, operation: Any, parameters: Any) -> Any:
        async with asyncio.timeout(self._adapt_connection.limit_s):
            return await super()._execute_async(operation, parameters)

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> Any:
        async with asyncio.timeout(self._adapt_connection.limit_s):
            return await super()._executemany_async(operation, seq_of_parameters)


class Connection(AsyncAdapt_asyncmy_connection):
    """A connection whose statements raise TimeoutError, and close it, after `limit_s`."""

    __slots__ = ("limit_s",)
    _cursor_cls = _Cursor

    async def _do_ping(self) -> None:
        async with asyncio.timeout(self.limit_s):
            await super()._do_ping()

    def __init__(self, dbapi: Any, connection: Any, limit_s: float) -> None:
        super().__init__(dbapi, connection)
        self.limit_s = limit_s
