"""Wide-row stores in tests: every database, and a Cassandra keyspace that is empty at the start of each test."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from svc_kit.backends import EngineUnusable
from svc_kit.cassandra.address import parse
from svc_kit.cassandra.schema import Table, migrate
from svc_kit.cassandra.session import connect
from svc_kit.cassandra.shared import lease
from svc_kit.errors import AppError
from tests.support.databases import DATABASES, fresh_database
from tests.support.engines import server_url, servers

WIDE = [*DATABASES, *servers("cassandra")]
PREFIX = "reelgraph_test_"
KEYSPACE = f"{PREFIX}{os.getpid()}"
"""Of this process: another may run the same tests on the same server."""


@asynccontextmanager
async def wide_store(engine: str, folder: Path, tables: Sequence[Table]) -> AsyncIterator[str]:
    """The URL of an empty store: on Cassandra with these tables."""
    if engine == "cassandra":
        yield await empty_tables(tables)
        return
    async with fresh_database(engine, folder) as url:
        yield url


def keyspace_url(name: str = KEYSPACE, **options: object) -> str:
    """The server's URL with a keyspace of the tests, one copy of each row."""
    parts = urlsplit(server_url("cassandra"))
    query = "&".join(f"{key}={value}" for key, value in {"replication": 1, "timeout_ms": 10_000, **options}.items())
    return urlunsplit(parts._replace(path=f"/{name}", query=query))


async def empty_tables(tables: Sequence[Table]) -> str:
    """The URL of a keyspace in which these tables are there, and empty."""
    url = keyspace_url()
    if missing := [table for table in tables if table.name not in _made]:
        if not _made:
            await drop_keyspaces(url, lambda name: _pid(name) > 0 and not Path(f"/proc/{_pid(name)}").exists())
            atexit.register(lambda: asyncio.run(drop_keyspaces(url, lambda name: _pid(name) == os.getpid())))
        await migrate(url, missing)
        _made.update(table.name for table in missing)
    leased = await lease(url)
    for table in tables:
        if (await leased.rows.select(f"SELECT * FROM {table.name} LIMIT 1", ())).rows:
            await leased.rows.define(f"TRUNCATE {table.name}")
    await leased.close()
    return url


_made: set[str] = set()


def _pid(keyspace: str) -> int:
    """Of the process that made one of the tests' keyspaces; 0 for another one."""
    pid = keyspace.removeprefix(PREFIX)
    return int(pid) if pid != keyspace and pid.isdecimal() else 0


async def drop_keyspaces(url: str, chosen: Callable[[str], bool]) -> None:
    """Drop those that are chosen by name: every table takes a part of a small server's memory."""
    with suppress(EngineUnusable, AppError):
        session = await connect(parse(url), keyspace=False, timeout_s=30)
        for (name,) in (await session.select("SELECT keyspace_name FROM system_schema.keyspaces", ())).rows:
            if chosen(name):
                await session.define(f"DROP KEYSPACE IF EXISTS {name}")
        await session.close()
