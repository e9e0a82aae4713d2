"""This service from a platform: its domains, each wired by its own `wiring.py`, and what they share."""

from __future__ import annotations

from contextlib import AsyncExitStack

from graph_svc.accounts.wiring import build_accounts
from graph_svc.context import Domain, GraphContext
from graph_svc.engagement.wiring import build_engagement
from graph_svc.follows.wiring import build_follows
from graph_svc.moderation.wiring import build_moderation
from graph_svc.notifications.wiring import build_notifications
from graph_svc.schema import outbox, replies
from graph_svc.settings import GraphSettings
from svc_kit.bus.relay import OutboxRelay
from svc_kit.db import connect
from svc_kit.periodic import pruning
from svc_kit.service import Job, Platform, Service
from svc_kit.uow import UnitOfWork
from svc_kit.wakeups import Wakeups
from svc_kit.worker_ids import with_own_ids


async def build(platform: Platform, stack: AsyncExitStack, settings: GraphSettings | None = None) -> Service:
    """The service `graph`. `stack` closes what it opens; its tables must exist before anything is called."""
    db = connect(platform.settings.service_db_url("graph"))
    stack.push_async_callback(db.close)
    platform = await with_own_ids(platform, db, "graph", stack)
    uow = UnitOfWork(db, outbox, replies, platform.ids, platform.clock)
    context = GraphContext(platform, db, uow, settings or GraphSettings(), stack)
    domains = await _wire(context)
    relay = OutboxRelay(db, platform.bus, platform.clock, name="graph.relay")
    prunes = [uow.prune_replies, *(prune for domain in domains for prune in domain.prunes)]
    return Service(
        "graph",
        servicers=[servicer for domain in domains for servicer in domain.servicers],
        workers=[
            Job("graph.relay", relay.run),
            Job("graph.prune", pruning(platform.clock, prunes, "graph.prune")),
            *(job for domain in domains for job in domain.workers),
        ],
        rebuilds={name: rebuild for domain in domains for name, rebuild in domain.rebuilds.items()},
        checks={
            "graph database": db.check,
            **{name: check for domain in domains for name, check in domain.checks.items()},
        },
    )


async def _wire(context: GraphContext) -> list[Domain]:
    """Every domain, by the `build_<domain>` of its `wiring.py`; what one offers to another is passed on here."""
    platform = context.platform
    wakeups = Wakeups(platform.cache, platform.clock)
    context.stack.push_async_callback(wakeups.close)
    accounts = await build_accounts(context)
    follows = await build_follows(context, accounts.queries)
    engagement = await build_engagement(context, follows.queries, accounts.queries, wakeups)
    notifications = await build_notifications(context, follows.queries, wakeups)
    moderation = await build_moderation(context, engagement.remove_comment)
    return [accounts, follows, engagement, notifications, moderation]
