"""Wide-row stores in tests: every database, and a Cassandra keyspace that is empty at the start of each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from svc_kit.cassandra.schema import Table, migrate
from svc_kit.cassandra.shared import lease
from tests.support.databases import DATABASES, fresh_database
from tests.support.engines import server_url, servers

WIDE = [*DATABASES, *servers("cassandra")]
KEYSPACE = "reelgraph_contracts"


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
    await migrate(url, tables)
    leased = await lease(url)
    for table in tables:
        if (await leased.rows.select(f"SELECT * FROM {table.name} LIMIT 1", ())).rows:
            await leased.rows.define(f"TRUNCATE {table.name}")
    await leased.close()
    return url
