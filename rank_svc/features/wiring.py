"""The domain from its parts."""

from __future__ import annotations

from dataclasses import dataclass

from rank_svc.context import Domain, RankContext
from rank_svc.features.cached import CachedFeatureStore
from rank_svc.features.commands import FeatureCommands
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


def open_features(context: RankContext) -> Features:
    """The stores, and what writes them."""
    settings, platform = context.settings, context.platform
    wide = platform.settings.wide_url
    sql = resolve("REELGRAPH_WIDE_URL", wide, SCHEMES).open(context.db) if wide else SqlFeatureStore(context.db)
    cached = CachedFeatureStore(sql, platform.clock, ttl_s=settings.feature_cache_s, most=settings.feature_cache_items)
    commands = FeatureCommands(sql, platform.clock)
    return Features(cached, sql, sql, commands, Surroundings(commands, platform.clock))


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
        rebuilds={"features": FeatureRebuild(features.commands, directory, platform.bus).run},
    )
