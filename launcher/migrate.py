"""The schemas of all services, and bringing their databases up to date."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from svc_kit.db import connect
from svc_kit.migrate import Migrations
from svc_kit.settings import PlatformSettings

SERVICES = ("graph", "media", "rank", "feed")


def migrations_of(service: str) -> Migrations:
    """The migrations of `graph`, `media`, `rank` or `feed`, with the tables that all its domains declare."""
    package = import_module(f"{service}_svc")
    folder = Path(str(package.__file__)).parent
    for tables in sorted(folder.glob("*/stores/tables.py")):
        import_module(".".join(tables.relative_to(folder.parent).with_suffix("").parts))
    return Migrations(service, import_module(f"{service}_svc.schema").metadata, folder / "migrations")


async def migrate_all(settings: PlatformSettings) -> None:
    """Bring every service's database to the newest revision."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    for service in SERVICES:
        db = connect(settings.service_db_url(service))
        try:
            await migrations_of(service).upgrade(db)
        finally:
            await db.close()
