"""This service from a platform: its domains, each wired by its own `wiring.py`, and what they share."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio

from rank_svc.context import Domain, RankContext
from rank_svc.features.wiring import build_features, open_features
from rank_svc.ranking.wiring import build_ranking
from rank_svc.retrieval.wiring import build_retrieval
from rank_svc.schema import outbox, replies
from rank_svc.scorers.wiring import open_models
from rank_svc.settings import RankSettings
from rank_svc.versions.wiring import build_versions
from svc_kit.bus.relay import OutboxRelay
from svc_kit.db import connect
from svc_kit.periodic import pruning
from svc_kit.service import Job, Platform, Service
from svc_kit.uow import UnitOfWork
from svc_kit.worker_ids import with_own_ids


async def build(platform: Platform, stack: AsyncExitStack, settings: RankSettings | None = None) -> Service:
    """The service `rank`. `stack` closes what it opens; its tables must exist before its workers run. Raises
    `rank_svc.scorers.store.ModelRefused` when not even the packaged model can be loaded."""
    db = connect(platform.settings.service_db_url("rank"))
    stack.push_async_callback(db.close)
    platform = await with_own_ids(platform, db, "rank", stack)
    uow = UnitOfWork(db, outbox, replies, platform.ids, platform.clock)
    settings = settings or RankSettings()
    context = RankContext(platform, db, uow, settings, anyio.CapacityLimiter(settings.compute_threads), stack)
    domains = await _wire(context)
    relay = OutboxRelay(db, platform.bus, platform.clock, name="rank.relay")
    prunes = [uow.prune_replies, *(prune for domain in domains for prune in domain.prunes)]
    shared = [
        Job("rank.relay", relay.run),
        Job("rank.prune", pruning(platform.clock, prunes, "rank.prune")),
    ]
    return Service(
        "rank",
        servicers=[servicer for domain in domains for servicer in domain.servicers],
        workers=[*shared, *(job for domain in domains for job in domain.workers)],
        rebuilds={name: rebuild for domain in domains for name, rebuild in domain.rebuilds.items()},
        checks={
            "rank database": db.check,
            **{name: check for domain in domains for name, check in domain.checks.items()},
        },
    )


async def _wire(context: RankContext) -> list[Domain]:
    """Every domain; what one offers to another is passed on here."""
    models = await open_models(context)
    features = await open_features(context)
    retrieval = await build_retrieval(context, features, models)
    ranking = build_ranking(context, features, retrieval)
    versions = build_versions(context, features, retrieval)
    return [build_features(context, features, retrieval.embeddings), retrieval, ranking, versions]
