"""Schemas: what is declared is what migrations make, older databases come along, newer ones are refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from launcher.doctor import examine
from launcher.migrate import SERVICES, migrate_all, migrations_of
from svc_kit.db import connect
from svc_kit.settings import PlatformSettings


@pytest.mark.parametrize("service", SERVICES)
async def test_migrations_make_the_schema_that_is_declared(tmp_path: Path, service: str) -> None:
    migrations, db = migrations_of(service), connect(f"sqlite:///{tmp_path / 'x.db'}")

    await migrations.upgrade(db)

    assert await migrations.difference(db) == []
    await db.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_database_of_the_first_release_is_brought_to_the_newest_schema(tmp_path: Path, service: str) -> None:
    migrations, db = migrations_of(service), connect(f"sqlite:///{tmp_path / 'x.db'}")
    async with db.write() as connection:
        await connection.run_sync(lambda c: command.upgrade(migrations.config(c), "0001"))

    await migrations.upgrade(db)

    assert (await migrations.current(db), await migrations.difference(db)) == (migrations.head(), [])
    await db.close()


async def test_two_migrators_at_once_leave_one_schema(tmp_path: Path) -> None:
    migrations = migrations_of("graph")
    one, two = (connect(f"sqlite:///{tmp_path / 'a.db'}") for _ in range(2))
    await asyncio.gather(migrations.upgrade(one), migrations.upgrade(two))
    assert await migrations.difference(one) == []
    await one.close()
    await two.close()


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
