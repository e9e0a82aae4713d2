"""A database of its own for one test, on SQLite or on a real server.

@pytest.fixture(params=DATABASES)
async def db(request, tmp_path):
    async with opened_database(request.param, tmp_path, metadata) as db:
        yield db
"""

from __future__ import annotations

import asyncio
import atexit
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData

from svc_kit.databases.url import database_of, service_url, with_database
from svc_kit.db import Database, connect, prepare
from tests.support.engines import server_url, servers

DATABASES = ["sqlite", *servers("postgres", "mysql")]


@asynccontextmanager
async def fresh_database(engine: str, folder: Path) -> AsyncIterator[str]:
    """The URL of a new, empty database with a random name, dropped at the end; on `sqlite` a file in `folder`."""
    if engine == "sqlite":
        yield f"sqlite:///{folder / f'{secrets.token_hex(4)}.db'}"
        return
    # The test account may make databases whose names begin like this.
    name = f"reelgraph_test_{secrets.token_hex(6)}"
    url = with_database(server_url(engine), name)
    await prepare(url)
    try:
        yield url
    finally:
        await drop_database(url, name)


async def drop_database(url: str, *names: str) -> None:
    """Drop databases of the server at `url`, whoever is connected to them."""
    if url.startswith("mysql:"):
        db = connect(with_database(url, "information_schema"), pool_size=1)
        drop = "DROP DATABASE IF EXISTS `{}`"
    else:
        db = connect(with_database(url, "postgres"), pool_size=1)
        drop = 'DROP DATABASE IF EXISTS "{}" WITH (FORCE)'
    try:
        async with db.read() as connection:
            for name in names:
                await connection.exec_driver_sql(drop.format(name))
    finally:
        await db.close()


@asynccontextmanager
async def opened_database(engine: str, folder: Path, metadata: MetaData, **options: Any) -> AsyncIterator[Database]:
    """A database with the empty tables of `metadata`, opened with `options` of `svc_kit.db.connect`.

    On a server the tables are made once a process and emptied for each test: making them takes longer than the test."""
    url, made = await _kept_url(engine, folder, f"{id(metadata)}")
    db = connect(url, **options)
    try:
        await _fill(db, metadata, made)
        yield db
    finally:
        await db.close()


async def common_url(engine: str, folder: Path, service: str, metadata: MetaData) -> str:
    """`PlatformSettings.db_url` of a database where the tables of `service` are empty, kept as those of
    `opened_database`; the empty one on `sqlite`, so that services lie in the data folder."""
    if engine == "sqlite":
        return ""
    url, made = await _kept_url(engine, folder, service)
    part = service_url(url, service)
    if made:
        await prepare(part)
        if engine == "mysql":
            _drop_at_exit(part)
    db = connect(part, pool_size=1)
    try:
        await _fill(db, metadata, made)
    finally:
        await db.close()
    return url


async def _fill(db: Database, metadata: MetaData, made: bool) -> None:
    async with db.write() as connection:
        if made:
            await connection.run_sync(metadata.create_all)
        else:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(table.delete())


_KEPT: dict[tuple[str, str], str] = {}


async def _kept_url(engine: str, folder: Path, purpose: str) -> tuple[str, bool]:
    """The URL, and whether it was made now."""
    if kept := _KEPT.get((engine, purpose)):
        return kept, False
    if engine == "sqlite":
        return f"sqlite:///{folder / f'{secrets.token_hex(4)}.db'}", True
    url = with_database(server_url(engine), f"reelgraph_test_{secrets.token_hex(6)}")
    await prepare(url)
    _KEPT[engine, purpose] = url
    _drop_at_exit(url)
    return url, True


def _drop_at_exit(url: str) -> None:
    atexit.register(lambda: asyncio.run(drop_database(url, database_of(url))))
