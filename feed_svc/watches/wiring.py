"""The watches domain, composed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from feed_svc.context import Domain, FeedContext
from feed_svc.feeds.cursors import Cursors
from feed_svc.feeds.store import VideoDirectory
from feed_svc.watches.commands import WatchCommands
from feed_svc.watches.counting import TOPICS, VIEWS, CountedViews, views_of
from feed_svc.watches.queries import WatchQueries
from feed_svc.watches.server import WatchServicer
from feed_svc.watches.store import WatchHistory
from feed_svc.watches.stores import HISTORY_SCHEMES
from feed_svc.watches.stores.sql import SqlWatchLog
from feed_svc.watches.stores.tables import watches
from feed_svc.watches.worker import BATCH as HISTORY_BATCH
from feed_svc.watches.worker import GROUP as HISTORY_GROUP
from feed_svc.watches.worker import TOPICS as HISTORY_TOPICS
from feed_svc.watches.worker import HistoryHandler, rebuild_histories
from reelgraph.feed.v1 import watches_pb2, watches_pb2_grpc
from svc_kit.backends import resolve
from svc_kit.bus.runner import EventWorker
from svc_kit.counter_cache import CachedCounters
from svc_kit.counters import CounterStore, CountingHandler, Key
from svc_kit.paging import TokenSigner
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job


class OpenHistory(WatchHistory, Protocol):
    """An opened store of histories."""

    async def check(self) -> None:
        """Raises UNAVAILABLE when it can't be read."""

    async def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watches(Domain):
    """The wired watches, and what else keeps them tidy."""

    prunes: Sequence[Callable[[], Awaitable[int]]]


async def build_watches(
    context: FeedContext, videos: VideoDirectory, cursors: Cursors, acted: Callable[[int], None]
) -> Watches:
    """`WatchService` and the counters of views."""
    platform, clock = context.platform, context.platform.clock
    log, histories = SqlWatchLog(context.uow), await _open_histories(context)
    store = CounterStore(context.db, clock, "views")
    counters = CachedCounters(store, platform.cache, prefix="views")
    workers = [
        EventWorker(platform.bus, "feed.counters", TOPICS, CountingHandler(counters, views_of), clock),
        EventWorker(platform.bus, HISTORY_GROUP, HISTORY_TOPICS, HistoryHandler(histories), clock, batch=HISTORY_BATCH),
    ]
    secret = platform.settings.secret.get_secret_value().encode()
    commands = WatchCommands(log, videos, cursors, context.uow, context.settings, clock, acted=acted)
    queries = WatchQueries(log, histories, CountedViews(counters), TokenSigner(secret, "pages of watches"))

    async def rebuild() -> int:
        await store.reconcile(_truth, TOPICS, views_of)
        ids = [video_id async for video_id, _ in log.totals()]
        await counters.invalidate(ids)
        return len(ids)

    return Watches(
        servicers=[
            Servicer(
                watches_pb2.DESCRIPTOR.services_by_name["WatchService"],
                WatchServicer(commands, queries),
                watches_pb2_grpc.add_WatchServiceServicer_to_server,
            )
        ],
        workers=[Job(worker.name, worker.run) for worker in workers],
        rebuilds={"view_counters": rebuild, "watch_history": lambda: rebuild_histories(log, histories)},
        checks={"watch history": histories.check},
        prunes=[store.prune],
    )


async def _open_histories(context: FeedContext) -> OpenHistory:
    """The histories that `REELGRAPH_WIDE_URL` names; without one, in the service's own database."""
    settings, own_url = context.platform.settings, context.platform.settings.service_db_url("feed")
    url = settings.wide_url or own_url
    adapter = resolve("REELGRAPH_WIDE_URL", url, HISTORY_SCHEMES)
    keep_days = context.settings.watch_history_days
    opened: OpenHistory = await adapter.open(
        *(url, context.db if url == own_url else None), clock=context.platform.clock, keep_days=keep_days
    )
    context.stack.push_async_callback(opened.close)
    return opened


async def _truth(connection: AsyncConnection) -> dict[Key, int]:
    rows = await connection.execute(select(watches.c.video_id, func.count()).group_by(watches.c.video_id))
    return {(video_id, VIEWS): count for video_id, count in rows}
