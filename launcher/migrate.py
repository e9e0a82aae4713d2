"""The schemas of all services, and bringing their databases up to date."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from svc_kit.backends import resolve
from svc_kit.bus import SCHEMES as BUS_SCHEMES
from svc_kit.clock import SystemClock
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
    """Make every service's database where it is absent and bring it to the newest revision; make the bus where it is a
    file."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    for service in SERVICES:
        await migrations_of(service).migrate(settings.service_db_url(service))
    bus_url = settings.embedded_url("bus", "sqlite:///{dir}/bus.db")
    if bus_url.startswith("sqlite:"):
        # What `doctor` then finds is whole; a broker's topics are its operator's.
        bus = await resolve("REELGRAPH_BUS_URL", bus_url, BUS_SCHEMES).open(bus_url, SystemClock())
        await bus.close()
