"""This service from a platform: its domains, each wired by its own `wiring.py`, and what they share."""

from __future__ import annotations

from contextlib import AsyncExitStack

from feed_svc.context import Domain, FeedContext
from feed_svc.schema import outbox, replies
from feed_svc.settings import FeedSettings
from svc_kit.db import connect
from svc_kit.service import Platform, Service
from svc_kit.uow import UnitOfWork


async def build(platform: Platform, stack: AsyncExitStack, settings: FeedSettings | None = None) -> Service:
    """The service `feed`. `stack` closes what it opens; its tables must exist before it is called."""
    db = connect(platform.settings.service_db_url("feed"))
    stack.push_async_callback(db.close)
    uow = UnitOfWork(db, outbox, replies, platform.ids, platform.clock)
    context = FeedContext(platform, db, uow, settings or FeedSettings(), stack)
    domains = await _wire(context)
    return Service(
        "feed",
        servicers=[servicer for domain in domains for servicer in domain.servicers],
        workers=[job for domain in domains for job in domain.workers],
        rebuilds={name: rebuild for domain in domains for name, rebuild in domain.rebuilds.items()},
        checks={name: check for domain in domains for name, check in domain.checks.items()},
    )


async def _wire(context: FeedContext) -> list[Domain]:
    """Every domain, by the `build_<domain>` of its `wiring.py`; what one offers to another is passed on here."""
    return []
