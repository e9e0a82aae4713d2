"""Migrations bring every service's database to exactly the schema that its code declares."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from launcher.migrate import SERVICES, migrations_of
from svc_kit.db import connect


@pytest.mark.parametrize("service", SERVICES)
async def test_an_empty_database_migrates_to_the_declared_schema(service: str, tmp_path: Path) -> None:
    migrations, db = migrations_of(service), connect(f"sqlite:///{tmp_path / 'a.db'}")
    await migrations.upgrade(db)
    assert await migrations.difference(db) == []
    assert await migrations.current(db) == migrations.head()
    await db.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_migrating_again_changes_nothing(service: str, tmp_path: Path) -> None:
    migrations, db = migrations_of(service), connect(f"sqlite:///{tmp_path / 'a.db'}")
    await migrations.upgrade(db)
    await migrations.upgrade(db)
    assert await migrations.difference(db) == []
    await db.close()


async def test_two_migrators_at_once_leave_one_schema(tmp_path: Path) -> None:
    migrations = migrations_of("graph")
    one, two = (connect(f"sqlite:///{tmp_path / 'a.db'}") for _ in range(2))
    await asyncio.gather(migrations.upgrade(one), migrations.upgrade(two))
    assert await migrations.difference(one) == []
    await one.close()
    await two.close()
