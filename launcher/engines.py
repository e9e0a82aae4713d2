"""The engines that a process stands on: which URLs its roles need, and finding out at once what is wrong with them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

from feed_svc.analytics.stores import ARCHIVE_SCHEMES, ARCHIVE_SETTING
from feed_svc.settings import FeedSettings
from launcher.migrate import SERVICES, migrations_of
from svc_kit.backends import (
    VERIFY_S,
    EngineUnusable,
    UnknownScheme,
    check_login,
    migrate,
    resolve,
    verify,
    without_secret,
)
from svc_kit.db import connect
from svc_kit.db import verify as verify_database
from svc_kit.errors import AppError
from svc_kit.migrate import Migrations
from svc_kit.settings import PlatformSettings

EVERY = frozenset({"gateway", "workers", *SERVICES})


@dataclass(frozen=True, slots=True)
class _Port:
    """Where a setting's adapters are named, and which roles open one."""

    name: str
    setting: str
    stores: str
    schemes: str
    roles: frozenset[str]


_PORTS = (
    _Port("cache", "cache_url", "svc_kit.caches", "SCHEMES", EVERY),
    _Port("event bus", "bus_url", "svc_kit.bus", "SCHEMES", EVERY - {"gateway"}),
    _Port("follow graph", "graph_url", "graph_svc.follows.stores", "SCHEMES", frozenset({"graph", "workers"})),
    _Port("notification log", "wide_url", "graph_svc.notifications.stores", "SCHEMES", frozenset({"graph", "workers"})),
    _Port("features", "wide_url", "rank_svc.features.stores", "SCHEMES", frozenset({"rank", "workers"})),
    _Port("author timelines", "wide_url", "feed_svc.fanout.stores", "TIMELINE_SCHEMES", frozenset({"feed", "workers"})),
    _Port("watch history", "wide_url", "feed_svc.watches.stores", "HISTORY_SCHEMES", frozenset({"feed", "workers"})),
    _Port("blobs", "blobs_url", "media_svc.blobs.stores", "SCHEMES", frozenset({"media", "feed", "workers"})),
    _Port("search", "search_url", "feed_svc.search.stores", "SEARCH_SCHEMES", frozenset({"feed", "workers"})),
    _Port("models", "models_url", "rank_svc.scorers.stores", "SCHEMES", frozenset({"rank", "workers"})),
    _Port("vectors", "vectors_url", "rank_svc.retrieval.stores", "SCHEMES", frozenset({"rank"})),
)

Examination = Callable[[], Awaitable[str]]
"""Answers what an engine is; raises `EngineUnusable`, `UnknownScheme` or `AppError`."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One chosen engine."""

    name: str
    setting: str
    """`REELGRAPH_GRAPH_URL`"""
    url: str
    schemes: Mapping[str, str]

    def load(self) -> None:
        """Import its adapter, if it can be; what is wrong with it `verify` tells."""
        with contextlib.suppress(UnknownScheme, EngineUnusable):
            resolve(self.setting, self.url, self.schemes)

    async def verify(self) -> str:
        """See `svc_kit.backends.verify`."""
        return await verify(self.setting, self.url, self.schemes)

    async def migrate(self) -> str:
        """See `svc_kit.backends.migrate`."""
        return await migrate(self.setting, self.url, self.schemes)


def engines_of(settings: PlatformSettings, roles: set[str]) -> list[Engine]:
    """The engines that `roles` open and that settings name; unnamed ones are embedded and make what they need."""
    found = []
    for port in _PORTS:
        url: str = getattr(settings, port.setting)
        if url and port.roles & roles:
            schemes: Mapping[str, str] = getattr(import_module(port.stores), port.schemes)
            found.append(Engine(port.name, f"REELGRAPH_{port.setting.upper()}", url, schemes))
    archive = FeedSettings().archive_url
    if archive and roles & {"feed", "workers"}:
        found.append(Engine("archive", ARCHIVE_SETTING, archive, ARCHIVE_SCHEMES))
    for engine in found:
        # Before any clock runs: drivers take seconds to import on a busy machine.
        engine.load()
    return found


def database_setting(settings: PlatformSettings, service: str) -> str:
    """The setting that chooses a service's database."""
    own = f"{service}_db_url"
    return f"REELGRAPH_{own.upper()}" if getattr(settings, own) or not settings.db_url else "REELGRAPH_DB_URL"


def database_url(settings: PlatformSettings, service: str) -> str:
    """Where a service's tables are. Raises `EngineUnusable` naming the setting when it can't say that."""
    try:
        return settings.service_db_url(service)
    except ValueError as error:
        raise EngineUnusable(f"REELGRAPH_DB_URL={without_secret(settings.db_url)}: {error}") from error


async def examine_database(settings: PlatformSettings, service: str) -> str:
    """The schema revision of a service's database. Raises `EngineUnusable` naming the setting when it can't be reached
    or its schema is not this version's."""
    url = database_url(settings, service)
    shown = f"{database_setting(settings, service)}={without_secret(url)}"
    migrations = migrations_of(service)
    head = migrations.head()
    try:
        check_login(url)
        async with asyncio.timeout(VERIFY_S):
            return await _database(url, migrations, head)
    except TimeoutError:
        raise EngineUnusable(f"{shown}: no answer within {VERIFY_S:g} s") from None
    except Exception as error:
        raise EngineUnusable(f"{shown}: {error}") from error


async def _database(url: str, migrations: Migrations, head: str | None) -> str:
    said = await verify_database(url)
    db = connect(url)
    try:
        current = await migrations.current(db)
    finally:
        await db.close()
    if current != head:
        raise ValueError(f"schema is at {current or 'nothing'}, the code needs {head}: run `reelgraph migrate`")
    return f"{said}, schema {current}" if said else f"schema {current}"


def load_schemas(services: Sequence[str]) -> None:
    """Import the tables and migrations of services, before any clock runs."""
    for service in services:
        migrations_of(service).head()


def examinations(settings: PlatformSettings, roles: set[str]) -> dict[str, Examination]:
    """By name, what finds out whether each engine of `roles` can be used, each within 5 s."""
    services = [name for name in SERVICES if roles & {name, "workers"}]
    load_schemas(services)
    found: dict[str, Examination] = {
        f"{name} database": lambda name=name: examine_database(settings, name)  # type: ignore[misc]
        for name in services
    }
    found |= {engine.name: engine.verify for engine in engines_of(settings, roles)}
    return found


async def require_engines(settings: PlatformSettings, roles: set[str]) -> None:
    """Raise `EngineUnusable` with a line for each engine of `roles` that can't be used."""
    wrong = await asyncio.gather(*(_wrong(examine) for examine in examinations(settings, roles).values()))
    lines = dict.fromkeys(line for line in wrong if line)
    if lines:
        raise EngineUnusable("\n".join(lines))


async def _wrong(examine: Examination) -> str:
    try:
        await examine()
    except (EngineUnusable, UnknownScheme, AppError) as error:
        return str(error)
    return ""


async def migrate_engines(settings: PlatformSettings, roles: set[str]) -> Sequence[str]:
    """Make what every named engine needs; a line for each that needed it. Raises `EngineUnusable`."""
    lines = []
    for engine in engines_of(settings, roles):
        if made := await engine.migrate():
            lines.append(f"{engine.name}: {made}")
    return lines
