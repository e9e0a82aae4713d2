"""The domain from its parts."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from rank_svc.context import Domain, RankContext
from rank_svc.features.wiring import Features
from rank_svc.retrieval.wiring import Retrieval
from rank_svc.scorers.store import Scorer
from rank_svc.scorers.stores import SCHEMES
from rank_svc.scorers.stores import onnxruntime as in_process
from rank_svc.scorers.wiring import PACKAGED
from rank_svc.settings import RankSettings
from rank_svc.versions.commands import VersionCommands
from rank_svc.versions.library import VersionLibrary
from rank_svc.versions.queries import VersionQueries
from rank_svc.versions.reporting import ReplicaReport
from rank_svc.versions.store import VersionLog
from rank_svc.versions.stores.sql import SqlVersionLog
from svc_kit.backends import resolve
from svc_kit.clock import Clock
from svc_kit.db import Database
from svc_kit.leases import Lease
from svc_kit.liveness import new_holder
from svc_kit.periodic import every
from svc_kit.service import Job
from svc_kit.settings import PlatformSettings
from svc_kit.telemetry import log

PROMOTION, TRAINING = "models.promotion", "models.training"
"""Leases: one process over all promotes, one trains."""
LEASE_MS = 60_000
FORGOTTEN_MS = 86_400_000
"""A replica that said nothing for a day is not told of any more."""

_log = log(__name__)


@dataclass(frozen=True, slots=True)
class Versions:
    """What the command line and the workers need of this domain."""

    library: VersionLibrary
    log: VersionLog
    commands: VersionCommands
    queries: VersionQueries


def open_versions(
    platform: PlatformSettings, settings: RankSettings, db: Database, clock: Clock, threads: anyio.CapacityLimiter
) -> Versions:
    """Promotion and what is known of versions, over the service's own database."""
    library, log = VersionLibrary(library_folder(platform), PACKAGED), SqlVersionLog(db)

    async def load(folder: Path) -> Scorer:
        models = in_process.FileModels(folder, threads)
        return await models.load(await models.wanted())

    commands = VersionCommands(
        *(library, log, load, lambda: lease(db, PROMOTION, clock), clock),
        least_users=settings.promote_least_users,
        margin=settings.promote_margin_errors,
    )
    return Versions(library, log, commands, VersionQueries(library, log, clock))


def library_folder(settings: PlatformSettings) -> Path:
    """The folder of versions that `REELGRAPH_MODELS_URL` names; unset, the data folder's `models`."""
    url = settings.models_url
    if not url:
        return settings.data_dir.resolve() / "models"
    found: Path = resolve("REELGRAPH_MODELS_URL", url, SCHEMES).folder(url)
    return found


def lease(db: Database, name: str, clock: Clock) -> Lease:
    """A lease in the service's database, for a holder of its own."""
    return Lease(db, name, new_holder(), LEASE_MS, clock)


def build_versions(context: RankContext, features: Features, retrieval: Retrieval) -> Domain:
    """What replicas say of themselves, and continuous training where it is on."""
    platform, settings, clock = context.platform, context.settings, context.platform.clock
    versions = open_versions(platform.settings, settings, context.db, clock, context.threads)
    report = ReplicaReport(versions.log, retrieval.replica, retrieval.refresh, retrieval.probe, clock)
    workers = [Job("rank.report", every(clock, settings.replica_report_s, report.step, "rank.report"), local=True)]
    if settings.train_every_hours or settings.train_events:
        workers.append(Job("rank.train", _training(context, versions, features)))

    async def forget() -> int:
        return await versions.log.forget_replicas(int(clock.now().timestamp() * 1000) - FORGOTTEN_MS)

    return Domain(workers=workers, prunes=[forget])


def _training(context: RankContext, versions: Versions, features: Features) -> Callable[[], Awaitable[None]]:
    # Its module reaches the command line of a child; a service that does not train needs none of it.
    from rank_svc.versions.training_job import Request
    from rank_svc.versions.worker import LOOK_S, NEEDED, ContinuousTraining

    platform, settings, clock = context.platform, context.settings, context.platform.clock
    missing = ", ".join(name for name in NEEDED if importlib.util.find_spec(name) is None)
    data_dir = platform.settings.data_dir.resolve()
    request = Request(
        work=str(data_dir / "training"),
        archive=settings.train_archive or platform.settings.blobs_url or f"file://{data_dir / 'archive'}",
        database=platform.settings.service_db_url("rank"),
        data_dir=str(data_dir),
        models_url=platform.settings.models_url,
        settings=settings,
        seed=0,
    )

    async def watched() -> int:
        return int(sum(bucket.views for bucket in (await features.fresh.buckets()).values()))

    training = ContinuousTraining(
        *(versions.log, versions.library, request, lambda: lease(context.db, TRAINING, clock), watched, clock),
        missing=missing,
    )

    async def run() -> None:
        if missing:
            _log.error("training is on and can't be done: pip install 'reelgraph[train]'", missing=missing)
        await every(clock, LOOK_S, training.step, "rank.train")()

    return run
