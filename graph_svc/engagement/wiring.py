"""The engagement domain, composed."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from graph_svc.context import Engagement, GraphContext
from graph_svc.engagement.commands import EngagementCommands
from graph_svc.engagement.commenting import CommentCommands
from graph_svc.engagement.counting import TOPICS, deltas_of
from graph_svc.engagement.queries import EngagementQueries
from graph_svc.engagement.server import EngagementServicer
from graph_svc.engagement.sight import Sight
from graph_svc.engagement.store import Blocks, Names
from graph_svc.engagement.stores.rpc import RpcVideoDirectory
from graph_svc.engagement.stores.sql import SqlEngagementStore
from graph_svc.engagement.stores.sql_counts import counted_rows
from graph_svc.engagement.streaming import CommentStream
from graph_svc.engagement.views import Views
from graph_svc.engagement.worker import (
    CLEANUP_GROUP,
    CLEANUP_TOPICS,
    COUNTERS_GROUP,
    STREAM_GROUP,
    STREAM_TOPICS,
    EndedVideosHandler,
    WakeHandler,
)
from reelgraph.graph.v1 import engagement_pb2, engagement_pb2_grpc
from svc_kit.bus.runner import EventWorker
from svc_kit.counter_cache import CachedCounters
from svc_kit.counters import CounterStore, CountingHandler, Key
from svc_kit.paging import TokenSigner
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job
from svc_kit.wakeups import Wakeups


async def build_engagement(context: GraphContext, blocks: Blocks, names: Names, wakeups: Wakeups) -> Engagement:
    """`EngagementService`, its counters, and the workers that follow comments and deleted videos."""
    platform, uow = context.platform, context.uow
    bus, clock = platform.bus, platform.clock
    store = SqlEngagementStore(uow)
    counters = CounterStore(context.db, clock, "engagement")
    cached = CachedCounters(counters, platform.cache, "engagement")
    sight = Sight(store, RpcVideoDirectory(platform.peer, platform.channels.media), blocks)
    views = Views(store, cached)
    comments = CommentCommands(store, sight, names, clock, uow)
    tokens = TokenSigner(platform.settings.secret.get_secret_value().encode(), "pages of comments")
    servicer = EngagementServicer(
        EngagementCommands(store, sight, views, clock, uow),
        comments,
        EngagementQueries(store, sight, views, tokens),
        CommentStream(store, sight, views, wakeups, clock),
    )
    counting = EventWorker(bus, COUNTERS_GROUP, TOPICS, CountingHandler(cached, deltas_of), clock)
    waking = EventWorker(bus, STREAM_GROUP, STREAM_TOPICS, WakeHandler(wakeups), clock)
    ending = EventWorker(bus, CLEANUP_GROUP, CLEANUP_TOPICS, EndedVideosHandler(comments), clock, batch=10)
    return Engagement(
        servicers=[
            Servicer(
                engagement_pb2.DESCRIPTOR.services_by_name["EngagementService"],
                servicer,
                engagement_pb2_grpc.add_EngagementServiceServicer_to_server,
            )
        ],
        workers=[
            Job(COUNTERS_GROUP, counting.run),
            Job(STREAM_GROUP, waking.run),
            Job(CLEANUP_GROUP, ending.run),
        ],
        prunes=[counters.prune],
        rebuilds={"engagement_counters": lambda: _rebuild(counters, cached)},
        remove_comment=comments.remove_comment,
    )


async def _rebuild(counters: CounterStore, cached: CachedCounters) -> int:
    """Make all counters agree with their rows; how many there are."""
    keys: set[Key] = set()

    async def truth(connection: AsyncConnection) -> Mapping[Key, int]:
        totals = await counted_rows(connection)
        keys.update(totals)
        return totals

    await counters.reconcile(truth, TOPICS, deltas_of)
    await cached.invalidate({subject for subject, _ in keys})
    return len(keys)
