"""MySQL 8.0 or MariaDB 10.6 and newer, and Vitess, by asyncmy. In the URL's query: `sslmode`, `sslrootcert`, `sslcert`
and `sslkey` as PostgreSQL has them, beside our `pool_size`."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncmy
import orjson
from asyncmy.constants import CLIENT
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_

from svc_kit.backends import EngineUnusable
from svc_kit.databases import pool
from svc_kit.databases.engine import Engine
from svc_kit.databases.errors import translate_network_errors
from svc_kit.databases.mysql_driver import Connection
from svc_kit.databases.url import database_of, place_of, pool_size_of, query_of

LEAST_MYSQL = (8, 0)
LEAST_MARIADB = (10, 6)
COLLATION = "utf8mb4_bin"
"""Text is compared by its code points, as SQLite does: names that differ in case or accents are different."""
SSL_MODES = ("disable", "require", "verify-ca", "verify-full")
QUERY = ("pool_size", "sslmode", "sslrootcert", "sslcert", "sslkey")
SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO"
_ACCESS_DENIED, _UNKNOWN_DATABASE, _DATABASE_DENIED = 1045, 1049, 1044


def open_engine(url: str, pool_size: int, command_s: float) -> Engine:
    """Nothing is contacted yet. Raises ValueError for a query parameter that nobody knows."""
    arguments = _arguments(url)

    async def connect() -> Any:
        async with asyncio.timeout(pool.CONNECT_S):
            connection = await _connect(arguments)
            try:
                await _settle(connection, round(command_s * pool.SERVER_SHARE))
            except BaseException:
                connection.close()
                raise
        return connection

    def creator() -> Any:
        dbapi: Any = engine.sync_engine.dialect.loaded_dbapi
        return await_(Connection.create(dbapi, connect(), limit_s=command_s))

    engine = create_async_engine(
        "mysql+asyncmy://",
        creator=creator,
        pool_size=pool_size_of(url, pool_size),
        json_deserializer=orjson.loads,
        **pool.OPTIONS,
    )
    translate_network_errors(engine)
    pool.replace_dead_connections(engine, lambda connection: connection._stream_broken)
    return Engine(engine, "BEGIN", ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "BEGIN"])


async def _connect(arguments: dict[str, Any]) -> Any:
    try:
        return await asyncmy.connect(**arguments)
    except RuntimeError as error:
        # What the driver says on uvloop of a connection that was taken and hung up on at once, as a balancer does that
        # has no server behind it.
        raise ConnectionResetError(str(error)) from error


def _arguments(url: str) -> dict[str, Any]:
    # The server's notes, such as that a primary key's name is not kept, are no news to an operator.
    logging.getLogger("asyncmy").setLevel(logging.ERROR)
    parts, query = urlsplit(url), query_of(url)
    if unknown := query.keys() - set(QUERY):
        raise ValueError(f"database URL mysql://: unknown option {min(unknown)}; valid: {', '.join(QUERY)}")
    return {
        "host": parts.hostname or "127.0.0.1",
        "port": parts.port or 3306,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "database": database_of(url),
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": pool.CONNECT_S - 0.5,
        # An UPDATE tells how many rows it found, as elsewhere, not how many it changed.
        "client_flag": CLIENT.FOUND_ROWS,
        "ssl": _tls(query),
    }


def _tls(query: dict[str, str]) -> ssl.SSLContext | None:
    """Given one, the driver connects in no other way."""
    files = [name for name in ("sslrootcert", "sslcert", "sslkey") if name in query]
    mode = query.get("sslmode", "disable")
    if files and mode == "disable":
        raise ValueError(f"database URL mysql://: {files[0]} needs sslmode=require, verify-ca or verify-full")
    # As with PostgreSQL: who names the authority wants it asked.
    mode = "verify-ca" if mode == "require" and "sslrootcert" in query else mode
    if mode not in SSL_MODES:
        raise ValueError(f"database URL mysql://: sslmode must be one of {', '.join(SSL_MODES)}, not {mode}")
    if mode == "disable":
        return None
    context = ssl.create_default_context(cafile=query.get("sslrootcert"))
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if mode.startswith("verify") else ssl.CERT_NONE
    if "sslcert" in query:
        context.load_cert_chain(query["sslcert"], query.get("sslkey"))
    return context


async def _settle(connection: Any, statement_s: int) -> None:
    is_mariadb = _is_mariadb(connection)
    limit = f"max_statement_time = {statement_s}" if is_mariadb else f"max_execution_time = {statement_s * 1000}"
    await _rows(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    settings = f"innodb_lock_wait_timeout = {pool.LOCK_S}, sql_mode = '{SQL_MODE}', time_zone = '+00:00'"
    await _rows(connection, f"SET SESSION {settings}, {limit}")


async def _rows(connection: Any, sql: str, *arguments: Any) -> Any:
    async with connection.cursor() as cursor:
        await cursor.execute(sql, arguments or None)
        return await cursor.fetchall() if cursor.description else ()


def _is_mariadb(connection: Any) -> bool:
    return "mariadb" in connection.get_server_info().lower()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    """A connection to the server, to none of its databases, with failures told for an operator."""
    place = place_of(url)
    try:
        async with asyncio.timeout(pool.CONNECT_S - 0.5):
            connection = await _connect(_arguments(url) | {"database": None})
    except asyncmy.errors.OperationalError as error:
        if error.args[0] in (_ACCESS_DENIED, _DATABASE_DENIED):
            raise EngineUnusable(f"MySQL at {place} refuses this user or password") from error
        raise EngineUnusable(f"can't connect to {place}: {error.args[-1]}") from error
    except TimeoutError as error:
        raise EngineUnusable(f"{place} does not answer") from error
    except (OSError, asyncmy.errors.MySQLError, ValueError) as error:
        raise EngineUnusable(f"can't connect to {place}: {error}") from error
    try:
        yield connection
    finally:
        connection.close()


async def verify(url: str) -> str:
    """See `svc_kit.backends`; the schema's revision is `svc_kit.migrate`'s to check."""
    name = database_of(url)
    async with _connected(url) as connection:
        version = _check_version(connection)
        collation = await _collation(connection, name)
        if collation is None:
            raise EngineUnusable(f"there is no database {name} that this user may see: run `reelgraph migrate`")
        if collation != COLLATION:
            raise EngineUnusable(f"database {name} compares by {collation}, not {COLLATION}: run `reelgraph migrate`")
        return f"{version}, database {name}"


async def _collation(connection: Any, name: str) -> str | None:
    sql = "SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = %s"
    rows = await _rows(connection, sql, name)
    return rows[0][0] if rows else None


def _check_version(connection: Any) -> str:
    told = connection.get_server_info()
    is_mariadb = _is_mariadb(connection)
    # MariaDB puts 5.5.5- before its version, for old replicas.
    found = re.search(r"(\d+)\.(\d+)", told.removeprefix("5.5.5-"))
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    product, least = ("MariaDB", LEAST_MARIADB) if is_mariadb else ("MySQL", LEAST_MYSQL)
    shown = f"{product} {version[0]}.{version[1]}"
    if version < least:
        raise EngineUnusable(f"{shown} is too old: {least[0]}.{least[1]} or newer is needed")
    return shown


async def prepare(url: str) -> None:
    """Make the database where it is absent, and give it our collation. Raises `EngineUnusable`."""
    name = database_of(url)
    if not name:
        raise EngineUnusable("the URL names no database")
    quoted = "`" + name.replace("`", "``") + "`"
    async with _connected(url) as connection:
        _check_version(connection)
        collation = await _collation(connection, name)
        if collation == COLLATION:
            return
        verb = "ALTER DATABASE" if collation else "CREATE DATABASE IF NOT EXISTS"
        try:
            await _rows(connection, f"{verb} {quoted} CHARACTER SET utf8mb4 COLLATE {COLLATION}")
        except asyncmy.errors.MySQLError as error:
            raise EngineUnusable(f"this user may not {verb.partition(' ')[0].lower()} database {name}") from error
