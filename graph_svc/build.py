"""This service from a platform: its domains, each wired by its own `wiring.py`, and what they share."""

from __future__ import annotations

from contextlib import AsyncExitStack

from graph_svc.accounts.wiring import build_accounts
from graph_svc.context import Domain, GraphContext
from graph_svc.schema import outbox, replies
from graph_svc.settings import GraphSettings
from svc_kit.db import connect
from svc_kit.service import Platform, Service
from svc_kit.uow import UnitOfWork


async def build(platform: Platform, stack: AsyncExitStack, settings: GraphSettings | None = None) -> Service:
    """The service `graph`. `stack` closes what it opens; its tables must exist before it is called."""
    db = connect(platform.settings.service_db_url("graph"))
    stack.push_async_callback(db.close)
    uow = UnitOfWork(db, outbox, replies, platform.ids, platform.clock)
    context = GraphContext(platform, db, uow, settings or GraphSettings(), stack)
    domains = await _wire(context)
    return Service(
        "graph",
        servicers=[servicer for domain in domains for servicer in domain.servicers],
        workers=[job for domain in domains for job in domain.workers],
        rebuilds={name: rebuild for domain in domains for name, rebuild in domain.rebuilds.items()},
    )


async def _wire(context: GraphContext) -> list[Domain]:
    """Every domain, by the `build_<domain>` of its `wiring.py`; what one offers to another is passed on here."""
    accounts = await build_accounts(context)
    return [accounts]
