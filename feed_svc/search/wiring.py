"""The search domain, composed."""

from __future__ import annotations

from feed_svc.context import Domain, FeedContext
from feed_svc.search.commands import SearchCommands
from feed_svc.search.popularity import PopularityRefresher
from feed_svc.search.queries import SearchQueries
from feed_svc.search.server import SearchServicer
from feed_svc.search.store import SearchIndex, ViewsSource
from feed_svc.search.stores import SEARCH_SCHEMES
from feed_svc.search.stores.rpc import RpcAccountDirectory, RpcVideoDirectory
from feed_svc.search.stores.sql import SqlHashtagStore
from feed_svc.search.turns import LeasedTurn
from feed_svc.search.worker import GROUP, TOPICS, SearchHandler
from reelgraph.feed.v1 import search_pb2, search_pb2_grpc
from reelgraph.graph.v1.accounts_pb2_grpc import AccountServiceStub
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceStub
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.backends import resolve
from svc_kit.bus.runner import EventWorker
from svc_kit.paging import TokenSigner
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job


async def build_search(context: FeedContext, views: ViewsSource) -> Domain:
    """`SearchService`, its worker and its rebuilds. `views` tells how popular videos are."""
    platform, settings, clock = context.platform, context.settings, context.platform.clock
    secret = platform.settings.secret.get_secret_value().encode()
    url = platform.settings.embedded_url("search", "tantivy://{dir}/search")
    turn = LeasedTurn(context.db, clock)
    index: SearchIndex = await resolve("REELGRAPH_SEARCH_URL", url, SEARCH_SCHEMES).open(url, turn)
    context.stack.push_async_callback(index.close)
    channels = platform.channels
    videos = RpcVideoDirectory(platform.peer, VideoServiceStub(channels.media))
    follows = FollowServiceStub(channels.graph)
    accounts = RpcAccountDirectory(platform.peer, AccountServiceStub(channels.graph), follows)
    hashtags = SqlHashtagStore(context.db, clock)
    commands = SearchCommands(index, hashtags, videos, accounts, clock)
    signer = TokenSigner(secret, "pages of search")
    queries = SearchQueries(index, hashtags, videos, accounts, signer, settings.search_depth)
    worker = EventWorker(platform.bus, GROUP, TOPICS, SearchHandler(commands), clock)
    refresher = PopularityRefresher(index, views, accounts, clock, settings.search_popularity_refresh_s)
    return Domain(
        servicers=[
            Servicer(
                search_pb2.DESCRIPTOR.services_by_name["SearchService"],
                SearchServicer(queries),
                search_pb2_grpc.add_SearchServiceServicer_to_server,
            )
        ],
        workers=[Job(GROUP, worker.run), Job("feed.search.popularity", refresher.run)],
        rebuilds={"search": commands.rebuild_index, "hashtags": commands.rebuild_hashtags},
        checks={"search": index.check},
    )
