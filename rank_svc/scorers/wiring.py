"""The domain from its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anyio

from rank_svc.context import RankContext
from rank_svc.scorers.commands import ModelCommands
from rank_svc.scorers.layers import LayeredModels
from rank_svc.scorers.store import ModelRepository
from rank_svc.scorers.stores import SCHEMES
from rank_svc.scorers.stores.sql import SqlModelLog
from svc_kit.backends import resolve
from svc_kit.settings import PlatformSettings

PACKAGED = Path(__file__).resolve().parents[1] / "models" / "base"
"""The base version: written by `make gen`, carried by the wheel."""


@dataclass(frozen=True, slots=True)
class Models:
    """What other domains need of this one."""

    repository: ModelRepository
    packaged: ModelRepository
    """What serves when `repository` names a version that can't."""
    commands: ModelCommands


async def open_models(context: RankContext) -> Models:
    """The repositories by `REELGRAPH_MODELS_URL`: unset, the data folder's `models` when it names a version that should
    serve, else the packaged base."""
    settings = context.platform.settings
    packaged = await _open(PACKAGED.as_uri(), context.threads)
    context.stack.push_async_callback(packaged.close)
    repository = await _chosen(settings, packaged, context.threads)
    context.stack.push_async_callback(repository.close)
    return Models(repository, packaged, ModelCommands(SqlModelLog(context.uow), context.platform.clock))


async def _chosen(
    settings: PlatformSettings, packaged: ModelRepository, threads: anyio.CapacityLimiter
) -> ModelRepository:
    if settings.models_url:
        return await _open(settings.models_url, threads)
    own = await _open((settings.data_dir.resolve() / "models").as_uri(), threads)
    return LayeredModels([own, packaged])


async def _open(url: str, threads: anyio.CapacityLimiter) -> ModelRepository:
    repository: ModelRepository = await resolve("REELGRAPH_MODELS_URL", url, SCHEMES).open(url, threads)
    return repository
