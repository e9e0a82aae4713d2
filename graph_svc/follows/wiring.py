"""The follows domain, composed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graph_svc.context import Domain, GraphContext
from graph_svc.follows.blocks import Blocks, KnownBlocks
from graph_svc.follows.commands import FollowCommands
from graph_svc.follows.popular import PopularAccounts
from graph_svc.follows.queries import FollowQueries
from graph_svc.follows.server import FollowServicer
from graph_svc.follows.store import Accounts, FollowGraph
from graph_svc.follows.stores import SCHEMES
from graph_svc.follows.stores.guarded import GuardedFollowGraph
from graph_svc.follows.stores.sql import SqlFollowStore
from graph_svc.follows.suggestions import MAX_CANDIDATES, SuggestionQueries
from graph_svc.follows.worker import (
    GROUP,
    TOPICS,
    FollowGraphHandler,
    Kept,
    prune_follow_graph,
    rebuild_follow_graph,
)
from reelgraph.graph.v1 import follows_pb2, follows_pb2_grpc
from svc_kit.backends import resolve
from svc_kit.breaker import Breaker
from svc_kit.bus.runner import EventWorker
from svc_kit.last_known import LastKnown
from svc_kit.paging import TokenSigner
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job

# Half-open soon: a graph that is back must not stay unread for half a minute.
OPEN_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Follows(Domain):
    """The wired domain, and the relations that others ask of it."""

    queries: FollowQueries


async def build_follows(context: GraphContext, accounts: Accounts) -> Follows:
    """`FollowService`, the worker of the graph and its rebuild."""
    platform = context.platform
    store = SqlFollowStore(context.uow)
    opened = await _open_graph(context)
    graph = GuardedFollowGraph(
        opened, Breaker("The follow graph", platform.clock, failures=5, window_s=10.0, open_s=OPEN_S)
    )
    popular = PopularAccounts(graph, platform.clock, MAX_CANDIDATES)
    tokens = TokenSigner(platform.settings.secret.get_secret_value().encode(), "pages of follows")
    known = LastKnown(platform.cache, platform.clock, "blocks", Blocks, lambda blocks: blocks.version)
    blocks = KnownBlocks(known, platform.clock)
    queries = FollowQueries(store, graph, blocks, tokens)
    servicer = FollowServicer(
        FollowCommands(store, graph, accounts, blocks, context.uow),
        queries,
        SuggestionQueries(graph, popular, queries, tokens),
    )
    kept = Kept(platform.clock, context.settings.ended_follow_days)
    worker = EventWorker(platform.bus, GROUP, TOPICS, FollowGraphHandler(graph, store, kept), platform.clock)
    return Follows(
        servicers=[
            Servicer(
                follows_pb2.DESCRIPTOR.services_by_name["FollowService"],
                servicer,
                follows_pb2_grpc.add_FollowServiceServicer_to_server,
            )
        ],
        workers=[Job(GROUP, worker.run)],
        prunes=[lambda: prune_follow_graph(graph, kept)],
        rebuilds={"follow_graph": lambda: rebuild_follow_graph(store, graph, platform.ids, kept)},
        checks={"follow graph": lambda: _check(opened)},
        queries=queries,
    )


async def _check(graph: FollowGraph) -> None:
    """Raise when the graph can't be read; past the breaker, which would answer for a while without asking."""
    await graph.followees(1, 0, 1)


async def _open_graph(context: GraphContext) -> FollowGraph:
    """The graph that `REELGRAPH_GRAPH_URL` names; without one, in the service's own database."""
    settings = context.platform.settings
    own_url = settings.service_db_url("graph")
    url = settings.graph_url or own_url
    graph = await resolve("REELGRAPH_GRAPH_URL", url, SCHEMES).open(url, context.db if url == own_url else None)
    context.stack.push_async_callback(graph.close)
    opened: FollowGraph = graph
    return opened
