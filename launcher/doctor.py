"""`reelgraph doctor`: what is wrong and where, all of it at once."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from media_svc.transcode.engine.tools import FfmpegTools

from launcher.compose import ALL, open_node
from launcher.doctor_models import model_checks
from launcher.engines import Engine, database_url, engines_of, examine_database, load_schemas
from launcher.migrate import SERVICES
from svc_kit.backends import resolve, without_secret
from svc_kit.bus import SCHEMES as BUS_SCHEMES
from svc_kit.cache import open_cache
from svc_kit.clock import SystemClock
from svc_kit.errors import AppError
from svc_kit.settings import PlatformSettings

CHECK_S = 6.0

LEAST_FREE_BYTES = 1 << 30

Check = Callable[[], Awaitable[str]]


async def examine(settings: PlatformSettings) -> bool:
    """Run every check, print a line for each, and answer whether all passed. Changes nothing. What services say of
    themselves can be asked only where their databases are."""
    load_schemas(SERVICES)
    from media_svc.transcode.engine.tools import FfmpegTools

    ours: dict[str, Check] = {
        "data folder": lambda: _data_dir(settings),
        "ffmpeg": lambda: _ffmpeg(FfmpegTools),
        "cache": lambda: _cache(settings),
        "event bus": lambda: _bus(settings),
        "explorer": _explorer,
    }
    checks = {name: _bounded(check) for name, check in ours.items()}
    # These have a limit of their own, and name their setting when it is over.
    checks |= {f"{name} database": functools.partial(_database, settings, name) for name in SERVICES}
    checks |= {engine.name: functools.partial(_engine, engine, checks.get(engine.name)) for engine in _named(settings)}
    if not await _report(checks):
        return False
    models = await _report({name: _bounded(check) for name, check in (await model_checks(settings)).items()})
    try:
        async with open_node(settings.with_kept_secrets(), set(ALL)) as node:
            own = {name: check for name, check in node.checks().items() if name not in checks}
            return await _report({name: _bounded(_passed(check)) for name, check in own.items()}) and models
    except (AppError, ValueError, OSError) as error:
        typer.echo(f"FAIL  services: {error}")
        return False


async def _report(checks: Mapping[str, Check]) -> bool:
    results = await asyncio.gather(*(_run(check) for check in checks.values()))
    for name, (passed, text) in zip(checks, results, strict=True):
        typer.echo(f"{'ok  ' if passed else 'FAIL'}  {name}: {text}")
    return all(passed for passed, _ in results)


def _passed(check: Callable[[], Awaitable[object]]) -> Check:
    async def passed() -> str:
        await check()
        return "can be used"

    return passed


def _bounded(check: Check) -> Check:
    """The check, given up after 6 s."""

    async def bounded() -> str:
        try:
            async with asyncio.timeout(CHECK_S):
                return await check()
        except TimeoutError:
            raise TimeoutError(f"no answer within {CHECK_S:g} s") from None

    return bounded


async def _run(check: Check) -> tuple[bool, str]:
    try:
        return True, await check()
    except Exception as error:
        return False, str(error) or type(error).__name__


async def _data_dir(settings: PlatformSettings) -> str:
    folder = settings.data_dir.resolve()
    if not folder.is_dir():
        raise ValueError(f"{folder} does not exist; the first `reelgraph serve all` makes it")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{folder} can't be written to")
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise ValueError(f"{folder} has {free >> 20} MiB free; at least {LEAST_FREE_BYTES >> 20} MiB are needed")
    return f"{folder}, {free >> 30} GiB free"


def _require_file(url: str, maker: str) -> None:
    """Opening a missing SQLite file would make an empty one, and `doctor` changes nothing."""
    path = url.removeprefix("sqlite:///")
    if path != url and not os.path.exists(path):
        raise ValueError(f"{path} does not exist; {maker} makes it")


def _named(settings: PlatformSettings) -> list[Engine]:
    return engines_of(settings, set(ALL))


async def _engine(engine: Engine, embedded: Check | None) -> str:
    """What a named engine says of itself; an embedded one has nothing to say but is tried."""
    said = await engine.verify()
    return said or (await embedded() if embedded else "embedded")


async def _database(settings: PlatformSettings, service: str) -> str:
    _require_file(database_url(settings, service), "`reelgraph migrate`")
    return await examine_database(settings, service)


async def _cache(settings: PlatformSettings) -> str:
    cache = await open_cache(settings.cache_url)
    try:
        await cache.ping()
    finally:
        await cache.aclose()
    return without_secret(settings.cache_url)


async def _bus(settings: PlatformSettings) -> str:
    url = settings.embedded_url("bus", "sqlite:///{dir}/bus.db")
    _require_file(url, "the first `reelgraph serve all`")
    bus = await resolve("REELGRAPH_BUS_URL", url, BUS_SCHEMES).open(url, SystemClock())
    try:
        return f"{bus.partitions} partitions a topic"
    finally:
        await bus.close()


async def _ffmpeg(tools: type[FfmpegTools]) -> str:
    return f"{(await tools.find()).ffmpeg}"


async def _explorer() -> str:
    from gateway.explorer.page import locate_dist

    dist = locate_dist()
    if dist is None:
        raise ValueError("the GraphiQL page is not built: run `make web`")
    return str(dist)
