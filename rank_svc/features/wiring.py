"""The domain from its parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from rank_svc.context import Domain, RankContext
from rank_svc.features.cached import CachedFeatureStore
from rank_svc.features.commands import FeatureCommands
from rank_svc.features.decay import HOUR_MS
from rank_svc.features.queries import FeatureQueries
from rank_svc.features.server import FeatureServicer
from rank_svc.features.store import Embeddings, FeatureStore, HistoryStore
from rank_svc.features.stores import SCHEMES
from rank_svc.features.stores.rpc import RpcVideoDirectory
from rank_svc.features.stores.sql import SqlFeatureStore
from rank_svc.features.surroundings import Surroundings
from rank_svc.features.worker import GROUP, TOPICS, FeatureHandler, FeatureRebuild
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from reelgraph.rank.v1 import features_pb2, features_pb2_grpc
from svc_kit.backends import resolve
from svc_kit.bus.runner import EventWorker
from svc_kit.periodic import every
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job

FLUSH_S = 5.0


@dataclass(frozen=True, slots=True)
class Features:
    """What other domains need of this one."""

    store: FeatureStore
    fresh: FeatureStore
    """Without the cache: for following changes."""
    histories: HistoryStore
    commands: FeatureCommands
    surroundings: Surroundings
    check: Callable[[], Awaitable[None]]
    """Raises UNAVAILABLE when histories can't be read."""


class OpenHistories(HistoryStore, Protocol):
    """An opened store of histories."""

    async def check(self) -> None:
        """Raises UNAVAILABLE when it can't be read."""

    async def close(self) -> None:
        """Let go of it."""


async def open_features(context: RankContext) -> Features:
    """The stores, and what writes them."""
    settings, platform = context.settings, context.platform
    sql, histories = SqlFeatureStore(context.db), await _open_histories(context)
    cached = CachedFeatureStore(sql, platform.clock, ttl_s=settings.feature_cache_s, most=settings.feature_cache_items)
    commands = FeatureCommands(sql, histories, platform.clock, grown_ms=int(settings.grown_account_hours * HOUR_MS))
    return Features(cached, sql, histories, commands, Surroundings(commands, platform.clock), histories.check)


async def _open_histories(context: RankContext) -> OpenHistories:
    """The histories that `REELGRAPH_WIDE_URL` names; without one, in the service's own database."""
    own_url = context.platform.settings.service_db_url("rank")
    url = context.platform.settings.wide_url or own_url
    opened: OpenHistories = await resolve("REELGRAPH_WIDE_URL", url, SCHEMES).open(
        *(url, context.db if url == own_url else None),
        clock=context.platform.clock,
        keep_days=context.settings.history_days,
    )
    context.stack.push_async_callback(opened.close)
    return opened


def build_features(context: RankContext, features: Features, embeddings: Embeddings) -> Domain:
    """Servicer, workers and rebuild."""
    platform = context.platform
    queries = FeatureQueries(features.store, features.histories, embeddings, platform.clock)
    directory = RpcVideoDirectory(platform.peer, VideoServiceStub(platform.channels.media))
    name = "rank.surroundings"
    worker = EventWorker(platform.bus, GROUP, TOPICS, FeatureHandler(features.commands), platform.clock)
    return Domain(
        servicers=[
            Servicer(
                features_pb2.DESCRIPTOR.services_by_name["FeatureService"],
                FeatureServicer(queries),
                features_pb2_grpc.add_FeatureServiceServicer_to_server,
            )
        ],
        workers=[
            Job(GROUP, worker.run),
            Job(name, every(platform.clock, FLUSH_S, features.surroundings.flush, name), local=True),
        ],
        prunes=[features.commands.prune],
        checks={"viewer histories": features.check},
        rebuilds={"features": FeatureRebuild(features.commands, directory, platform.bus).run},
    )
