"""This service from a platform: its domains, each wired by its own `wiring.py`, and what they share."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from feed_svc.analytics.wiring import build_analytics
from feed_svc.context import Domain, FeedContext
from feed_svc.experiments.wiring import build_experiments
from feed_svc.fanout.wiring import build_fanout
from feed_svc.feeds.wiring import build_feeds
from feed_svc.schema import outbox, replies
from feed_svc.search.wiring import build_search
from feed_svc.settings import FeedSettings
from feed_svc.trending.wiring import build_trending
from feed_svc.watches.wiring import build_watches
from svc_kit.bus.relay import OutboxRelay
from svc_kit.db import connect
from svc_kit.periodic import Prune, pruning
from svc_kit.service import Job, Platform, Service
from svc_kit.uow import UnitOfWork
from svc_kit.worker_ids import with_own_ids


@dataclass(frozen=True, slots=True)
class _Wired:
    """All domains, and what is forgotten after a while."""

    domains: list[Domain]
    prunes: list[Prune]


async def build(platform: Platform, stack: AsyncExitStack, settings: FeedSettings | None = None) -> Service:
    """The service `feed`. `stack` closes what it opens; its tables must exist before anything is called."""
    db = connect(platform.settings.service_db_url("feed"))
    stack.push_async_callback(db.close)
    platform = await with_own_ids(platform, db, "feed", stack)
    uow = UnitOfWork(db, outbox, replies, platform.ids, platform.clock)
    context = FeedContext(platform, db, uow, settings or FeedSettings(), stack)
    wired = await _wire(context)
    relay = OutboxRelay(db, platform.bus, platform.clock, name="feed.relay")
    prunes = [uow.prune_replies, *wired.prunes]
    return Service(
        "feed",
        servicers=[servicer for domain in wired.domains for servicer in domain.servicers],
        workers=[
            Job("feed.relay", relay.run),
            Job("feed.prune", pruning(platform.clock, prunes, "feed.prune")),
            *(job for domain in wired.domains for job in domain.workers),
        ],
        rebuilds={name: rebuild for domain in wired.domains for name, rebuild in domain.rebuilds.items()},
        checks={
            "feed database": db.check,
            **{name: check for domain in wired.domains for name, check in domain.checks.items()},
        },
    )


async def _wire(context: FeedContext) -> _Wired:
    """Every domain, by the `build_<domain>` of its `wiring.py`; what one offers to another is passed on here."""
    analytics = await build_analytics(context)
    trending = await build_trending(context, analytics.history)
    search = await build_search(context, trending.views)
    fanout = await build_fanout(context)
    experiments = build_experiments(context, analytics.history)
    feeds = await build_feeds(context, fanout, trending=trending.source, tunings=experiments.tunings)
    watches = await build_watches(context, feeds.videos, feeds.cursors, feeds.acted)
    domains = [analytics.domain, trending.domain, search, fanout, experiments.domain, feeds, watches]
    return _Wired(domains, [*trending.prunes, *fanout.prunes, *feeds.prunes, *watches.prunes])
