"""A Neo4j server or cluster as the graph asks it: pooled, bounded in time, retried within a budget, its errors ours."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from neo4j import (
    READ_ACCESS,
    AsyncDriver,
    AsyncGraphDatabase,
    AsyncManagedTransaction,
    Query,
    TrustCustomCAs,
    basic_auth,
    unit_of_work,
)
from neo4j.api import AsyncBookmarkManager
from neo4j.exceptions import (
    ClientError,
    ConfigurationError,
    ConstraintError,
    DriverError,
    Neo4jError,
    ResultError,
    SessionError,
    TransactionError,
)

from svc_kit.backends import EngineUnusable
from svc_kit.errors import AppError, unavailable

R = TypeVar("R")

POOL: Final = 50
CONNECT_S: Final = 1.0
READ_S: Final = 2.0
"""The longest that a read takes, all attempts together, whatever has become of the server."""
READ_ATTEMPTS: Final = 3
WRITE_S: Final = 30.0
RETRY_WRITES_S: Final = 5.0
"""How long a transaction that met a deadlock or lost its server is begun again."""
TRANSACTION_S: Final = 10.0
"""How long the server works on one transaction that writes."""
FIRST_PAUSE_S: Final = 0.02
_DEFECTS = (ConfigurationError, ResultError, SessionError, TransactionError)
_GONE = "Neo.ClientError.Statement.EntityNotFound"
_REFUSED = ("Neo.ClientError.Statement.", "Neo.ClientError.Request.")


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL says: `neo4j://user:password@host:7687/database?pool=50&ca=/path/of/ca.pem`."""

    uri: str
    auth: tuple[str, str] | None
    database: str | None
    """None: the user's home database."""
    pool: int
    """The most connections to one server."""
    ca: str
    """A file of certificates to trust instead of the system's; empty: the system's."""

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises `EngineUnusable` for what it can't mean."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := sorted(set(options) - {"pool", "ca"}):
            raise EngineUnusable(f"unknown option {unknown[0]} in the URL; valid: ca, pool")
        pool = options.get("pool", str(POOL))
        if not pool.isdecimal() or not 1 <= int(pool) <= 1000:
            raise EngineUnusable(f"pool={pool} in the URL: a number from 1 to 1000")
        if not parts.hostname:
            raise EngineUnusable("the URL names no host")
        auth = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
        where = parts.netloc.rpartition("@")[2]
        database = unquote(parts.path.strip("/")) or None
        return cls(f"{parts.scheme}://{where}", auth, database, int(pool), options.get("ca", ""))

    def driver(self, **config: Any) -> AsyncDriver:
        """A driver that has not connected yet."""
        uri, scheme = self.uri, self.uri.partition(":")[0]
        if self.ca:
            if not scheme.endswith("+s"):
                raise EngineUnusable(f"ca in the URL needs {scheme.partition('+')[0]}+s")
            uri = uri.replace("+s:", ":", 1)
            config |= {"encrypted": True, "trusted_certificates": TrustCustomCAs(self.ca)}
        try:
            return AsyncGraphDatabase.driver(
                uri,
                auth=None if self.auth is None else basic_auth(*self.auth),
                max_connection_pool_size=self.pool,
                connection_timeout=CONNECT_S,
                connection_write_timeout=READ_S,
                telemetry_disabled=True,
                **config,
            )
        except (DriverError, ValueError, OSError) as error:
            raise EngineUnusable(f"the URL can't be used: {type(error).__name__}") from error


class Server:
    """Runs statements. Reads may go to replicas; they see what this process has written before.

    Raises `AppError` UNAVAILABLE for a server that is down, too busy or too slow, or that turns this process away.
    """

    def __init__(self, address: Address) -> None:
        self._driver = address.driver(
            connection_acquisition_timeout=CONNECT_S,
            max_connection_lifetime=600,
            liveness_check_timeout=30,
            max_transaction_retry_time=RETRY_WRITES_S,
            initial_retry_delay=FIRST_PAUSE_S,
            retry_delay_jitter_factor=0.5,
        )
        self._database = address.database
        self._bookmarks = _bookmarks()

    async def close(self) -> None:
        """Close all connections."""
        await self._driver.close()

    async def read(
        self, statement: Query, parameters: Mapping[str, Any], *, within_s: float = READ_S
    ) -> Sequence[Sequence[Any]]:
        """All rows of a statement that only reads, asked again while the server may still answer in time."""
        with self._errors():
            async with asyncio.timeout(within_s):
                for attempt in range(1, READ_ATTEMPTS):
                    try:
                        return await self._read(statement, parameters)
                    except (DriverError, Neo4jError) as error:
                        if not error.is_retryable():
                            raise
                    await asyncio.sleep(FIRST_PAUSE_S * 4**attempt * random.uniform(0.5, 1.0))
                return await self._read(statement, parameters)

    async def _read(self, statement: Query, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        # A statement alone is one round trip, a transaction would be three.
        async with self._driver.session(
            database=self._database, default_access_mode=READ_ACCESS, bookmark_manager=self._bookmarks
        ) as session:
            result = await session.run(statement, dict(parameters))
            return await result.values()

    async def write(self, work: Callable[[AsyncManagedTransaction], Awaitable[R]]) -> R:
        """Run `work` in a transaction, again from its start after a deadlock or a lost connection."""
        limited = unit_of_work(timeout=TRANSACTION_S)(work)
        with self._errors():
            async with (
                asyncio.timeout(WRITE_S),
                self._driver.session(database=self._database, bookmark_manager=self._bookmarks) as session,
            ):
                return await session.execute_write(limited)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            # Perhaps it waited for a write that no server has any more: one restored from a backup is behind.
            self._bookmarks = _bookmarks()
            raise _down() from error
        except (DriverError, Neo4jError, OSError) as error:
            if is_defect(error):
                raise
            raise _down() from error


def is_defect(error: Exception) -> bool:
    """Whether it is this program that is wrong, not the server or its settings."""
    if isinstance(error, ClientError) and not isinstance(error, ConstraintError):
        # What a statement has found may be deleted before it is done: that is nobody's mistake.
        return (error.code or "").startswith(_REFUSED) and error.code != _GONE
    return isinstance(error, _DEFECTS)


def _down() -> AppError:
    return unavailable("The follow graph is not available at the moment.")


def _bookmarks() -> AsyncBookmarkManager:
    return AsyncGraphDatabase.bookmark_manager()
