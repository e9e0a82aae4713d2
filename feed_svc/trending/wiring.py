"""The trending domain, composed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from feed_svc.context import Domain, FeedContext
from feed_svc.trending.commands import TOPICS, TrendingCommands
from feed_svc.trending.queries import TrendingQueries, TrendingTop
from feed_svc.trending.server import TrendingServicer
from feed_svc.trending.store import EventHistory
from feed_svc.trending.stores.redis import RedisSnapshotCache
from feed_svc.trending.stores.rpc import RpcVideoDirectory
from feed_svc.trending.stores.sql import SqlTrendingStore
from feed_svc.trending.worker import GROUP, TrendingHandler
from reelgraph.feed.v1 import trending_pb2, trending_pb2_grpc
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.bus.runner import EventWorker
from svc_kit.paging import TokenSigner
from svc_kit.periodic import every
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job

VIRAL = "feed.trending.viral"


@dataclass(frozen=True, slots=True)
class Trending:
    """The wired domain, and what it offers to others."""

    domain: Domain
    source: TrendingTop
    """`TrendingSource` of the feeds."""
    views: SqlTrendingStore
    """`ViewsSource` of search."""
    prunes: Sequence[Callable[[], Awaitable[int]]]


async def build_trending(context: FeedContext, history: EventHistory) -> Trending:
    """`TrendingService`, its worker, its jobs and its rebuild. `history`: events of the past."""
    platform, settings, clock = context.platform, context.settings, context.platform.clock
    secret = platform.settings.secret.get_secret_value().encode()
    store = SqlTrendingStore(context.uow)
    videos = RpcVideoDirectory(platform.peer, VideoServiceStub(platform.channels.media))
    commands = TrendingCommands(store, videos, history, clock, settings)
    top = TrendingTop(store, clock, settings)
    signer = TokenSigner(secret, "pages of trending")
    queries = TrendingQueries(top, RedisSnapshotCache(platform.cache), videos, signer, settings, clock)
    worker = EventWorker(platform.bus, GROUP, TOPICS, TrendingHandler(commands), clock)
    domain = Domain(
        servicers=[
            Servicer(
                trending_pb2.DESCRIPTOR.services_by_name["TrendingService"],
                TrendingServicer(queries),
                trending_pb2_grpc.add_TrendingServiceServicer_to_server,
            )
        ],
        workers=[
            Job(GROUP, worker.run),
            Job(VIRAL, every(clock, settings.viral_check_s, commands.find_viral, VIRAL)),
        ],
        rebuilds={"trending": commands.rebuild},
    )
    return Trending(domain, top, store, [commands.prune])
