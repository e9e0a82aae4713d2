"""Schemas: what is declared is what migrations make, older databases come along, newer ones are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import JSON, BigInteger, Boolean, Connection, LargeBinary, MetaData, String, Table, event, text
from sqlalchemy.types import Float, Integer

from launcher.doctor import examine
from launcher.migrate import SERVICES, migrate_all, migrations_of
from svc_kit.backends import EngineUnusable
from svc_kit.databases.mysql import COLLATION
from svc_kit.databases.url import database_of, service_url, with_database
from svc_kit.db import Database, connect
from svc_kit.migrate import Migrations
from svc_kit.settings import PlatformSettings
from tests.support.databases import DATABASES, drop_database, fresh_database
from tests.support.engines import server_url, servers


@pytest.fixture(params=DATABASES)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with fresh_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    db = connect(url)
    yield db
    await db.close()


async def _upgrade_to(migrations: Migrations, db: Database, revision: str) -> None:
    async with db.write() as connection:
        await connection.run_sync(lambda c: command.upgrade(migrations.config(c), revision))


@pytest.mark.parametrize("service", SERVICES)
async def test_migrations_make_the_schema_that_is_declared(db: Database, service: str) -> None:
    migrations = migrations_of(service)

    await migrations.upgrade(db)

    assert await migrations.difference(db) == []


def _value(kind: Any, row: int) -> Any:
    if isinstance(kind, Boolean):
        return row % 2 == 0
    if isinstance(kind, JSON):
        return [{"é": row}]
    if isinstance(kind, LargeBinary):
        # A digest's column holds 32 bytes, others must hold more than MySQL's plain BLOB does.
        return bytes([row]) * (kind.length or 70_000)
    if isinstance(kind, String):
        return f"{'ÄÖ'[row % 2]}{row}"[: kind.length]
    if isinstance(kind, Float):
        return row + 0.25
    wide = isinstance(kind, BigInteger) and not isinstance(kind, Integer)
    return 2**62 + row if wide else row + 1


def _rows(table: Table) -> list[dict[str, Any]]:
    return [{c.name: _value(c.type, row) for c in table.c} for row in range(3)]


def _contents(connection: Connection, tables: dict[str, list[str]], declared: MetaData) -> dict[str, list[Any]]:
    found = {}
    for name, columns in tables.items():
        table = declared.tables[name]
        query = table.select().with_only_columns(*(table.c[c] for c in columns))
        found[name] = sorted(map(repr, connection.execute(query)))
    return found


@pytest.mark.parametrize("service", SERVICES)
async def test_a_full_database_of_the_first_release_keeps_its_rows(db: Database, service: str) -> None:
    migrations = migrations_of(service)
    await _upgrade_to(migrations, db, "0001")

    def columns_now(connection: Connection) -> dict[str, list[str]]:
        there = MetaData()
        there.reflect(connection)
        return {name: [c.name for c in table.c] for name, table in there.tables.items() if name != "alembic_version"}

    def fill(connection: Connection) -> None:
        for name, columns in tables.items():
            rows = [{c: row[c] for c in columns} for row in _rows(migrations.metadata.tables[name])]
            connection.execute(migrations.metadata.tables[name].insert(), rows)

    async with db.read() as connection:
        tables = await connection.run_sync(columns_now)
    assert tables.keys() >= {"outbox", "leases", "replies"}
    async with db.write() as connection:
        await connection.run_sync(fill)
        before = await connection.run_sync(_contents, tables, migrations.metadata)
    assert {len(rows) for rows in before.values()} == {3}

    await migrations.upgrade(db)

    assert (await migrations.current(db), await migrations.difference(db)) == (migrations.head(), [])
    async with db.read() as connection:
        assert await connection.run_sync(_contents, tables, migrations.metadata) == before


async def test_migrators_at_once_leave_one_schema(url: str) -> None:
    migrations = migrations_of("graph")
    several = [connect(url) for _ in range(3)]
    await asyncio.gather(*(migrations.upgrade(db) for db in several))
    assert await migrations.difference(several[0]) == []
    for db in several:
        await db.close()


async def test_a_migrator_that_died_is_gone_on_with(db: Database) -> None:
    migrations, statements = migrations_of("feed"), 0

    def die(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal statements
        statements += statement.lstrip().startswith("CREATE")
        if statements == 7:
            raise RuntimeError("killed")

    event.listen(db.engine.sync_engine, "before_cursor_execute", die)
    with pytest.raises(RuntimeError, match="killed"):
        await migrations.upgrade(db)
    event.remove(db.engine.sync_engine, "before_cursor_execute", die)

    await migrations.upgrade(db)

    assert await migrations.difference(db) == []


@pytest.mark.parametrize("engine", servers("mysql"))
async def test_text_of_every_table_is_compared_by_code_point(tmp_path: Path, engine: str) -> None:
    """Also where the server and the database have a habit of their own."""
    async with fresh_database(engine, tmp_path) as url:
        db = connect(url)
        async with db.read() as connection:
            await connection.exec_driver_sql(f"ALTER DATABASE `{database_of(url)}` COLLATE utf8mb4_general_ci")
        for service in SERVICES:
            await migrations_of(service).migrate(service_url(url, service))
        query = text(
            "SELECT DISTINCT collation_name FROM information_schema.columns "
            "WHERE table_schema LIKE :like AND collation_name IS NOT NULL AND table_name != 'alembic_version'"
        )
        async with db.read() as connection:
            found = (await connection.execute(query, {"like": f"{database_of(url)}_%"})).scalars().all()
        await db.close()
        await drop_database(url, *(f"{database_of(url)}_{service}" for service in SERVICES))
    assert found == [COLLATION]


async def test_services_share_one_url_without_meeting(url: str, tmp_path: Path) -> None:
    settings = PlatformSettings(data_dir=tmp_path, db_url=url)
    try:
        await migrate_all(settings)
        await migrate_all(settings)
        for service in SERVICES:
            assert "schema" in await migrations_of(service).verify(settings.service_db_url(service))
    finally:
        if url.startswith("mysql"):
            await drop_database(url, *(f"{database_of(url)}_{service}" for service in SERVICES))


@pytest.mark.parametrize("engine", servers("postgres", "mysql"))
async def test_a_database_that_is_absent_is_made_by_migrate_alone(tmp_path: Path, engine: str) -> None:
    async with fresh_database(engine, tmp_path) as url:
        await drop_database(url, database_of(url))
        migrations = migrations_of("media")
        with pytest.raises(EngineUnusable, match=r"there is no database .*: run `reelgraph migrate`"):
            await migrations.verify(url)
        await asyncio.gather(*(migrations.migrate(url) for _ in range(2)))
        assert (await migrations.verify(url)).endswith(f"schema {migrations.head()}")


async def test_an_empty_an_older_and_a_newer_schema_are_told_apart(url: str) -> None:
    migrations, db = migrations_of("rank"), connect(url)
    with pytest.raises(EngineUnusable, match=r"schema is at nothing, .*: run `reelgraph migrate`"):
        await migrations.verify(url)
    await _upgrade_to(migrations, db, "0001")
    with pytest.raises(EngineUnusable, match=r"schema is at 0001, .*: run `reelgraph migrate`"):
        await migrations.verify(url)
    await migrations.upgrade(db)
    assert (await migrations.verify(url)).endswith(f"schema {migrations.head()}")
    async with db.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(EngineUnusable, match="rank database is at revision 9999, newer"):
        await migrations.verify(url)
    with pytest.raises(ValueError, match="rank database is at revision 9999, newer"):
        await migrations.migrate(url)
    await db.close()


async def test_a_database_of_a_later_version_and_one_that_is_none_are_refused_by_name(tmp_path: Path) -> None:
    settings = PlatformSettings(data_dir=tmp_path)
    await migrate_all(settings)
    db = connect(settings.service_db_url("media"))
    async with db.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await db.close()
    with pytest.raises(ValueError, match="media database is at revision 9999, newer"):
        await migrate_all(settings)

    (tmp_path / "media.db").write_bytes(b"no database" * 1000)
    with pytest.raises(ValueError, match="media database can't be read"):
        await migrate_all(settings)


@pytest.mark.parametrize("engine", servers("postgres", "mysql"))
async def test_what_keeps_a_server_from_being_used_is_named_without_its_password(engine: str) -> None:
    given = server_url(engine)
    head, _, place = given.rpartition("@")
    wrong = f"{head}x@{place}"
    closed = with_database(f"{head}@127.0.0.1:9/", "reelgraph")
    migrations, password = migrations_of("graph"), head.rpartition(":")[2]
    for url, reason in ((wrong, "refuses this user or password"), (closed, "can't connect to 127.0.0.1:9")):
        with pytest.raises(EngineUnusable, match=reason) as caught:
            await migrations.verify(url)
        assert password not in str(caught.value)


async def test_doctor_asks_every_service_what_it_stands_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = PlatformSettings(data_dir=tmp_path)
    assert not await examine(settings)
    assert "graph.db does not exist" in capsys.readouterr().out
    await migrate_all(settings)
    (tmp_path / "bus.db").touch()

    await examine(settings)

    lines = capsys.readouterr().out.splitlines()
    for name in ("data folder", "graph database", "event bus", "blobs", "search", "archive", "rank model"):
        assert [line for line in lines if line.startswith(f"ok    {name}:")], (name, lines)
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    (tmp_path / "archive").touch()
    assert not await examine(settings)
    assert "FAIL  archive" in capsys.readouterr().out
