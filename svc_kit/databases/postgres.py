"""PostgreSQL 13 or newer by asyncpg. The URL is libpq's: its query may hold `sslmode`, `sslrootcert`, `sslcert`,
`sslkey`, `sslcrl`, `target_session_attrs` and any setting of the server, such as `search_path`, beside our
`pool_size`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from svc_kit.backends import EngineUnusable
from svc_kit.databases import pool
from svc_kit.databases.direct import DirectReads
from svc_kit.databases.engine import Engine
from svc_kit.databases.errors import translate_network_errors
from svc_kit.databases.url import database_of, for_driver, place_of, pool_size_of, query_of, with_database, with_query

LEAST_VERSION = 13
CACHED_STATEMENTS = 500
_TLS_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_PERHAPS_PLAIN = ("disable", "allow", "prefer")
SETTINGS = {
    "application_name": "reelgraph",
    "lock_timeout": f"{pool.LOCK_S}s",
    "idle_in_transaction_session_timeout": "60s",
    "default_transaction_isolation": "read committed",
    "timezone": "UTC",
    # Our statements are short: compiling one costs more than it saves.
    "jit": "off",
}
Connect = Callable[[], Awaitable[Any]]


def open_engine(url: str, pool_size: int, command_s: float) -> Engine:
    """Nothing is contacted yet. At most `pool_size` connections, and half as many for direct reads. Raises ValueError
    for files of TLS that a connection need not use."""
    size = pool_size_of(url, pool_size)

    dsn = _dsn(url, SETTINGS | {"statement_timeout": f"{round(command_s * pool.SERVER_SHARE)}s"})

    async def connect() -> Any:
        return await asyncpg.connect(dsn, timeout=pool.CONNECT_S, command_timeout=command_s)

    engine = _sqlalchemy(connect, size)
    translate_network_errors(engine)
    pool.replace_dead_connections(engine, lambda connection: connection.is_closed())
    direct = DirectReads(connect, max(1, size // 2))
    return Engine(engine, "BEGIN", ["BEGIN ISOLATION LEVEL REPEATABLE READ"], direct=direct)


def _dsn(url: str, settings: Mapping[str, str]) -> str:
    query = query_of(url)
    files = [name for name in _TLS_FILES if name in query]
    # The driver's own order: what the URL does not say, the environment does.
    mode = query.get("sslmode") or os.environ.get("PGSSLMODE", "prefer")
    if files and mode in _PERHAPS_PLAIN:
        # In these modes the driver checks no certificate, and may speak in the clear.
        raise ValueError(f"database URL postgresql://: {files[0]} needs sslmode=require, verify-ca or verify-full")
    return for_driver(url, settings)


def _sqlalchemy(connect: Connect, size: int) -> AsyncEngine:
    def creator() -> Any:
        dbapi: Any = engine.sync_engine.dialect.loaded_dbapi
        return dbapi.connect(async_creator_fn=connect, prepared_statement_cache_size=CACHED_STATEMENTS)

    engine = create_async_engine(
        "postgresql+asyncpg://", creator=creator, pool_size=size, json_deserializer=orjson.loads, **pool.OPTIONS
    )
    return engine


@asynccontextmanager
async def _connected(url: str, **settings: str) -> AsyncIterator[Any]:
    """A connection of its own, with failures told for an operator."""
    place, name = place_of(url), database_of(url)
    try:
        connection = await asyncpg.connect(_dsn(url, settings), timeout=pool.CONNECT_S - 0.5)
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise EngineUnusable(f"PostgreSQL at {place} refuses this user or password") from error
    except asyncpg.InvalidCatalogNameError as error:
        raise EngineUnusable(f"there is no database {name}: run `reelgraph migrate`") from error
    except asyncpg.CannotConnectNowError as error:
        raise EngineUnusable(f"PostgreSQL at {place} is starting or stopping") from error
    except asyncpg.TooManyConnectionsError as error:
        raise EngineUnusable(f"PostgreSQL at {place} has no connection left") from error
    except asyncpg.PostgresError as error:
        raise EngineUnusable(f"PostgreSQL at {place} refuses to connect ({error.sqlstate})") from error
    except TimeoutError as error:
        raise EngineUnusable(f"{place} does not answer") from error
    except (OSError, asyncpg.InterfaceError, ValueError) as error:
        raise EngineUnusable(f"can't connect to {place}: {error}") from error
    try:
        yield connection
    finally:
        await connection.close(timeout=1)


def schema_of(url: str) -> str:
    """The schema that the URL's tables lie in: the first of its `search_path`."""
    return query_of(url).get("search_path", "public").partition(",")[0].strip().strip('"')


async def verify(url: str) -> str:
    """See `svc_kit.backends`; the schema's revision is `svc_kit.migrate`'s to check."""
    async with _connected(url) as connection:
        version = _check_version(connection)
        schema = schema_of(url)
        if not await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", schema):
            raise EngineUnusable(f"there is no schema {schema} in database {database_of(url)}: run `reelgraph migrate`")
        return f"PostgreSQL {version}, schema {schema}"


def _check_version(connection: Any) -> str:
    version = connection.get_server_version()
    if version.major < LEAST_VERSION:
        raise EngineUnusable(f"PostgreSQL {version.major} is too old: {LEAST_VERSION} or newer is needed")
    return f"{version.major}.{version.micro}"


async def prepare(url: str) -> None:
    """Make the database and the schema where they are absent. Raises `EngineUnusable`."""
    try:
        await _make_schema(url)
    except EngineUnusable as error:
        if not isinstance(error.__cause__, asyncpg.InvalidCatalogNameError):
            raise
        await _make_database(url)
        await _make_schema(url)


async def _make_schema(url: str) -> None:
    schema = schema_of(url)
    async with _connected(url) as connection:
        _check_version(connection)
        # Asked first: whoever may not create a schema may still use one that is there.
        if await connection.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname = $1", schema):
            return
        try:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(schema)}")
        except (asyncpg.UniqueViolationError, asyncpg.DuplicateSchemaError):
            return  # another migrator was faster
        except asyncpg.InsufficientPrivilegeError as error:
            raise EngineUnusable(f"this user may not create schema {schema} in {database_of(url)}") from error


async def _make_database(url: str) -> None:
    name = database_of(url)
    elsewhere = with_query(
        with_database(url, "postgres"), {k: v for k, v in query_of(url).items() if k != "search_path"}
    )
    async with _connected(elsewhere) as connection:
        try:
            await connection.execute(f"CREATE DATABASE {_quoted(name)} ENCODING 'UTF8' TEMPLATE template0")
        except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            return
        except asyncpg.InsufficientPrivilegeError as error:
            raise EngineUnusable(f"this user may not create database {name}") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
