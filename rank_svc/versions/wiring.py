"""The domain from its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anyio

from rank_svc.scorers.store import Scorer
from rank_svc.scorers.stores import SCHEMES
from rank_svc.scorers.stores import onnxruntime as in_process
from rank_svc.scorers.wiring import PACKAGED
from rank_svc.settings import RankSettings
from rank_svc.versions.commands import VersionCommands
from rank_svc.versions.library import VersionLibrary
from rank_svc.versions.queries import VersionQueries
from rank_svc.versions.store import VersionLog
from rank_svc.versions.stores.sql import SqlVersionLog
from svc_kit.backends import resolve
from svc_kit.clock import Clock
from svc_kit.db import Database
from svc_kit.leases import Lease
from svc_kit.liveness import new_holder
from svc_kit.settings import PlatformSettings

PROMOTION, TRAINING = "models.promotion", "models.training"
"""Leases: one process over all promotes, one trains."""
LEASE_MS = 60_000


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
