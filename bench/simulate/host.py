"""The platform in this process, as `reelgraph serve all` runs it: the services with their gRPC servers on Unix sockets,
the gateway in front, their workers beside; on a stepped clock and embedded engines.

What differs from a served one, and why: no ffmpeg (videos are rows, see `publishing.py`), no janitors and no search
index (nobody searches), no re-ranking in the background (the next page does it, as it does in a served one that is
asked at once), passwords hash cheaply, access tokens live for the whole run, and deadlines are long: so a busy machine
gives the same feed as an idle one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import func, select
from starlette.applications import Starlette

import feed_svc.build
import graph_svc.build
import media_svc.build
import rank_svc.build
from bench.simulate.clock import SteppedClock
from feed_svc.schema import outbox as feed_outbox
from feed_svc.settings import FeedSettings
from gateway.app import build_gateway
from graph_svc.schema import outbox as graph_outbox
from graph_svc.settings import GraphSettings
from launcher.compose import DRAIN_S, open_platform, socket_address
from launcher.engines import migrate_engines
from launcher.migrate import SERVICES, migrate_all
from launcher.serve import roles_of
from launcher.supervise import supervised
from media_svc.schema import outbox as media_outbox
from media_svc.settings import MediaSettings
from rank_svc.settings import RankSettings
from svc_kit.auth import Authenticator
from svc_kit.db import Database, connect
from svc_kit.rpc.server import RpcServer
from svc_kit.service import Job, Platform, Service
from svc_kit.settings import PlatformSettings

LONG_MS = 60_000
DAYS_S = 365 * 24 * 3600
SETTLE_S = 60.0
CALM_TURNS = 5
ARCHIVE = "feed.archive"
IDLE = (
    *("media.verify", "media.janitor", "media.transcode", "feed.search", "feed.search.popularity", "feed.prune"),
    "feed.refresh",
    *("graph.prune", "rank.prune", "graph.accounts.upkeep"),
)
OUTBOXES = {"graph": graph_outbox, "media": media_outbox, "feed": feed_outbox}


def feed_settings(**changes: object) -> FeedSettings:
    """The platform's own, with deadlines that no machine misses; what nobody waits for is done half-hourly."""
    long = ("source_deadline_ms", "ranking_deadline_ms", "relations_deadline_ms", "visibility_deadline_ms")
    patient = dict.fromkeys((*long, "stale_after_ms", "rerank_wait_ms"), LONG_MS)
    seldom = {"popular_refresh_s": 1800, "viral_check_s": 1800}
    return FeedSettings.model_validate({**FeedSettings().model_dump(), **patient, **seldom, **changes})


def rank_settings(**changes: object) -> RankSettings:
    """The platform's own; what only watches over it looks seldom."""
    seldom = {"recall_probe_s": DAYS_S, "model_check_s": 3600}
    return RankSettings.model_validate({**RankSettings().model_dump(), **seldom, **changes})


@dataclass(slots=True)
class Host:
    """A running platform."""

    platform: Platform
    services: dict[str, Service]
    app: Starlette
    clock: SteppedClock
    databases: dict[str, Database]
    asleep: int = 0
    """How many jobs wait for the clock when there is nothing to do."""

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything that is due be done."""
        self.clock.advance(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Return when all that happened has been worked in: outboxes empty, consumers caught up, jobs asleep. Raises
        TimeoutError naming what is not."""
        waits_for = ""
        try:
            async with asyncio.timeout(SETTLE_S):
                while True:
                    waits_for = await self._busy()
                    if not waits_for:
                        return
                    await asyncio.sleep(0.001)
        except TimeoutError:
            raise TimeoutError(f"{waits_for} did not come to rest") from None

    async def _busy(self) -> str:
        for _ in range(CALM_TURNS):
            # Who was woken is no longer among the sleepers a few turns of the loop later.
            await asyncio.sleep(0)
            if self.clock.sleepers < self.asleep:
                return "a job"
        bus = self.platform.bus
        for group, topics in (await bus.groups()).items():
            if group != ARCHIVE and await bus.lag(group, topics):
                return group
        for name, table in OUTBOXES.items():
            async with self.databases[name].read() as connection:
                waiting = await connection.scalar(
                    select(func.count()).select_from(table).where(table.c.published_at_ms.is_(None))
                )
            if waiting:
                return f"outbox of {name}"
        return ""

    async def rest(self) -> None:
        """Find out how many jobs sleep when nothing is to do."""
        seen, calm = -1, 0
        while calm < 30:
            await asyncio.sleep(0.01)
            busy = await self._busy()
            calm = calm + 1 if not busy and self.clock.sleepers == seen else 0
            seen = self.clock.sleepers
        self.asleep = seen

    async def archive(self) -> None:
        """Have all events in the archive."""
        bus = self.platform.bus
        topics = (await bus.groups())[ARCHIVE]
        for _ in range(10_000):
            if not await bus.lag(ARCHIVE, topics):
                return
            self.clock.advance(61)
            await asyncio.sleep(0.01)
        raise TimeoutError("the archive does not catch up")


@asynccontextmanager
async def hosted(folder: Path, feed: FeedSettings, rank: RankSettings | None = None) -> AsyncIterator[Host]:
    """A platform with its data in `folder`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    clock = SteppedClock()
    settings = PlatformSettings(
        data_dir=folder, bus_url="memory://?partitions=1", cache_url="memory://", public_url="http://simulation.invalid"
    ).with_kept_secrets()
    await migrate_all(settings)
    await migrate_engines(settings, roles_of({"all"}))
    async with AsyncExitStack() as stack:
        sockets = folder / "s"
        sockets.mkdir(exist_ok=True)
        platform, verifier = await stack.enter_async_context(open_platform(settings, set(SERVICES), sockets, clock))
        services = {
            "feed": await feed_svc.build.build(platform, stack, feed),
            "graph": await graph_svc.build.build(platform, stack, _graph_settings()),
            "media": await media_svc.build.build(platform, stack, MediaSettings()),
            "rank": await rank_svc.build.build(platform, stack, rank or rank_settings()),
        }
        authenticator = Authenticator(verifier, settings.service_token.get_secret_value())
        for name, service in services.items():
            server = RpcServer(service.servicers, authenticator)
            await server.start(socket_address(sockets, name))
            stack.push_async_callback(server.stop, DRAIN_S)
        jobs: list[Job] = [job for service in services.values() for job in service.workers if job.name not in IDLE]
        await stack.enter_async_context(supervised(jobs, clock))
        gateway = await build_gateway(platform, verifier, stack)
        app = Starlette(routes=gateway.routes, middleware=list(gateway.middleware))
        databases = {}
        for name in OUTBOXES:
            databases[name] = connect(settings.service_db_url(name))
            stack.push_async_callback(databases[name].close)
        host = Host(platform, services, app, clock, databases)
        await host.rest()
        yield host


def _graph_settings() -> GraphSettings:
    return GraphSettings(
        access_token_s=DAYS_S,
        password_time_cost=1,
        password_memory_kib=8,
        password_parallelism=1,
        sign_ups_per_address=1_000_000,
        log_ins_per_address=1_000_000,
    )
