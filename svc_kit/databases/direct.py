"""Reads on asyncpg's own connections, for statements that are run with every request.

SQLAlchemy's way of running one statement (a greenlet, a pool, a cursor, a result) costs more than the statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import orjson

from svc_kit.databases.errors import unreachable
from svc_kit.databases.pool import IDLE_S, POOL_WAIT_S

# The server ends the connection with these, and the socket may not know it yet.
_ENDING = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)


class DirectReads:
    """A bounded number of connections; a statement that finds none free waits for at most `POOL_WAIT_S`."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], size: int) -> None:
        self._connect = connect
        self._slots = asyncio.Semaphore(size)
        self._idle: list[tuple[Any, float]] = []

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Any]:
        """See `svc_kit.databases.engine.Reads`."""
        try:
            if self._slots.locked():
                async with asyncio.timeout(POOL_WAIT_S):
                    await self._slots.acquire()
            else:
                await self._slots.acquire()
            try:
                return await self._fetch(sql, arguments)
            finally:
                self._slots.release()
        except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise unreachable(error) from error
        except asyncpg.PostgresError as error:
            if isinstance(error, asyncpg.SyntaxOrAccessError):
                raise
            raise unreachable(error) from error

    async def _fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        connection = self._idle_one() or await self._open()
        try:
            rows: Sequence[Any] = await connection.fetch(sql, *arguments)
        except BaseException as error:
            if isinstance(error, asyncpg.PostgresError) and not isinstance(error, _ENDING):
                self._give_back(connection)
            else:
                # Cancelled or broken: what the server still sends must not reach the next statement.
                connection.terminate()
            raise
        self._give_back(connection)
        return rows

    def _idle_one(self) -> Any:
        oldest = asyncio.get_running_loop().time() - IDLE_S
        while self._idle:
            connection, used_at = self._idle.pop()
            if used_at > oldest and not connection.is_closed():
                return connection
            connection.terminate()
        return None

    async def _open(self) -> Any:
        connection = await self._connect()
        await connection.set_type_codec("json", encoder=str, decoder=orjson.loads, schema="pg_catalog")
        return connection

    def _give_back(self, connection: Any) -> None:
        self._idle.append((connection, asyncio.get_running_loop().time()))

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            connection, _ = self._idle.pop()
            try:
                await connection.close(timeout=1)
            except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError):
                connection.terminate()
