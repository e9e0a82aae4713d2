"""This service from a platform: its domains, each wired by its own `wiring.py`, and what they share."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack

from sqlalchemy import literal, select

from graph_svc.accounts.wiring import build_accounts
from graph_svc.context import Domain, GraphContext
from graph_svc.engagement.wiring import build_engagement
from graph_svc.follows.wiring import build_follows
from graph_svc.moderation.wiring import build_moderation
from graph_svc.notifications.wiring import build_notifications
from graph_svc.schema import outbox, replies
from graph_svc.settings import GraphSettings
from svc_kit.bus.relay import OutboxRelay
from svc_kit.db import Database, connect
from svc_kit.errors import AppError
from svc_kit.service import Job, Platform, Service
from svc_kit.telemetry import log
from svc_kit.uow import UnitOfWork
from svc_kit.wakeups import Wakeups

PRUNE_S = 600.0
PRUNE_BATCH = 1000
_log = log(__name__)


async def build(platform: Platform, stack: AsyncExitStack, settings: GraphSettings | None = None) -> Service:
    """The service `graph`. `stack` closes what it opens; its tables must exist before anything is called."""
    db = connect(platform.settings.service_db_url("graph"))
    stack.push_async_callback(db.close)
    uow = UnitOfWork(db, outbox, replies, platform.ids, platform.clock)
    context = GraphContext(platform, db, uow, settings or GraphSettings(), stack)
    domains = await _wire(context)
    relay = OutboxRelay(db, platform.bus, platform.clock, name="graph.relay")
    return Service(
        "graph",
        servicers=[servicer for domain in domains for servicer in domain.servicers],
        workers=[
            Job("graph.relay", relay.run),
            Job("graph.replies", lambda: _prune_replies(uow)),
            *(job for domain in domains for job in domain.workers),
        ],
        rebuilds={name: rebuild for domain in domains for name, rebuild in domain.rebuilds.items()},
        checks={"graph database": lambda: _check(db)},
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


async def _check(db: Database) -> None:
    async with db.read() as connection:
        await connection.execute(select(literal(1)))


async def _prune_replies(uow: UnitOfWork) -> None:
    """Forget replies of commands after their 24 hours, until cancelled."""
    while True:
        try:
            while await uow.prune_replies(PRUNE_BATCH) == PRUNE_BATCH:
                pass
        except AppError as error:
            _log.warning("old replies are kept for now", error=error.message)
        await uow.clock.sleep(PRUNE_S * random.uniform(0.8, 1.2))
