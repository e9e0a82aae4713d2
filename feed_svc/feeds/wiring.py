"""The feeds domain, composed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from feed_svc.context import Domain, FeedContext
from feed_svc.fanout.wiring import Fanout
from feed_svc.feeds.building import SnapshotBuilder
from feed_svc.feeds.builds import Builds
from feed_svc.feeds.commands import FeedCommands
from feed_svc.feeds.cursors import Cursors
from feed_svc.feeds.feed import Feeds
from feed_svc.feeds.following import Following
from feed_svc.feeds.hydration import Hydrator, RelationsReader
from feed_svc.feeds.impressions import Impressions
from feed_svc.feeds.offers import sources_of
from feed_svc.feeds.pages import PageTaker
from feed_svc.feeds.popular import PopularList
from feed_svc.feeds.queries import ForYou
from feed_svc.feeds.refresher import Refresher
from feed_svc.feeds.rules import Variety
from feed_svc.feeds.server import FeedServicer
from feed_svc.feeds.shelf import Shelf
from feed_svc.feeds.spool import Spool
from feed_svc.feeds.store import (
    InterestsSource,
    Ranker,
    RelationsSource,
    Retrieval,
    ServedPage,
    TrendingSource,
    VideoDirectory,
)
from feed_svc.feeds.stores.redis import RedisSnapshotStore
from feed_svc.feeds.stores.rpc import RpcInterests, RpcRanker, RpcRelations, RpcRetrieval, RpcVideoDirectory
from feed_svc.feeds.stores.seen_cache import CachedSeenStore
from feed_svc.feeds.stores.sql import (
    SqlInteractionStore,
    SqlNotInterestedStore,
    SqlSeenStore,
    SqlServedStore,
)
from feed_svc.feeds.stores.timelines import TimelineVideos
from feed_svc.feeds.tails import TailBuilder
from feed_svc.feeds.tuning import NoExperiments, Tunings
from feed_svc.feeds.worker import TOPICS, FeedEvents
from reelgraph.feed.v1 import feeds_pb2, feeds_pb2_grpc
from reelgraph.graph.v1.accounts_pb2_grpc import AccountServiceStub
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceStub
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from reelgraph.rank.v1.ranking_pb2_grpc import RankingServiceStub
from reelgraph.rank.v1.retrieval_pb2_grpc import RetrievalServiceStub
from svc_kit.breaker import Breaker
from svc_kit.bus.port import Record
from svc_kit.bus.runner import EventWorker
from svc_kit.clock import now_ms
from svc_kit.paging import TokenSigner
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job


@dataclass(frozen=True, slots=True)
class Peers:
    """What other services answer; tests put their own in."""

    videos: VideoDirectory
    relations: RelationsSource
    interests: InterestsSource
    retrieval: Retrieval
    ranker: Ranker


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedsDomain(Domain):
    """The wired feeds, and what other domains need of them."""

    feeds: Feeds
    videos: VideoDirectory
    cursors: Cursors
    acted: Callable[[int], None]
    """Tell that a viewer did something that changes their feed, after it is committed."""
    refresher: Refresher
    popular: PopularList
    commands: FeedCommands
    prunes: Sequence[Callable[[], Awaitable[int]]]
    flushes: Sequence[Callable[[], Awaitable[bool]]]
    """Hand over what the spools hold."""


def peers_of(context: FeedContext) -> Peers:
    """The other services, by gRPC."""
    peer, channels = context.platform.peer, context.platform.channels
    return Peers(
        RpcVideoDirectory(peer, VideoServiceStub(channels.media)),
        RpcRelations(peer, FollowServiceStub(channels.graph)),
        RpcInterests(peer, AccountServiceStub(channels.graph)),
        RpcRetrieval(peer, RetrievalServiceStub(channels.rank)),
        RpcRanker(peer, RankingServiceStub(channels.rank)),
    )


async def build_feeds(
    context: FeedContext,
    fanout: Fanout,
    trending: TrendingSource | None,
    peers: Peers | None = None,
    tunings: Tunings | None = None,
) -> FeedsDomain:
    """`FeedService`, its background work and its events."""
    peers = peers or peers_of(context)
    platform, settings, clock = context.platform, context.settings, context.platform.clock
    tunings = tunings or NoExperiments(settings)
    known = TimelineVideos(fanout.timelines)
    seen = CachedSeenStore(
        SqlSeenStore(context.db, clock, days=settings.seen_days),
        platform.cache,
        clock,
        exact=settings.seen_exact,
        days=settings.seen_days,
    )
    interactions = SqlInteractionStore(context.db)
    served = SqlServedStore(context.db)

    def breaker(name: str) -> Breaker:
        return Breaker(
            name,
            clock,
            failures=settings.breaker_failures,
            window_s=settings.breaker_window_s,
            open_s=settings.breaker_open_s,
        )

    pages: Spool[ServedPage] = Spool("feed.served_pages", served.add, clock, settings.spool_entries)
    records: Spool[Record] = Spool("feed.impressions", platform.bus.publish, clock, settings.spool_entries)
    reads: Spool[int] = Spool("feed.activity", fanout.activity.note_all, clock, settings.spool_entries)
    for spool in (pages.flush, records.flush, reads.flush):
        context.stack.push_async_callback(spool)
    shelf = Shelf(
        RedisSnapshotStore(platform.cache, ttl_s=settings.snapshot_ttl_s, per_owner=settings.snapshots_per_viewer),
        breaker("cache"),
        served,
        pages,
        clock,
        memory=settings.memory_snapshots,
        ttl_s=settings.snapshot_ttl_s,
    )
    hydrator = Hydrator(peers.videos, known, breaker("videos"), settings.visibility_deadline_ms / 1000)
    relations = RelationsReader(peers.relations, breaker("relations"), settings.relations_deadline_ms / 1000)
    popular = PopularList(known, trending, clock, settings.popular_entries)
    tails = TailBuilder(
        sources_of(fanout.followed, peers.retrieval, trending, known, interactions, breaker),
        peers.ranker,
        breaker("ranking"),
        peers.interests,
        breaker("interests"),
        interactions,
        seen,
        known,
        hydrator,
        popular,
        settings,
        clock,
        tunings,
    )
    builds = Builds(settings.concurrent_builds, settings.waiting_builds)
    context.stack.push_async_callback(builds.close)
    secret = platform.settings.secret.get_secret_value().encode()
    cursors = Cursors(TokenSigner(secret, "feed cursors"))
    impressions = Impressions(records, platform.ids, clock)
    variety = Variety(
        *(settings.author_gap, settings.topic_share, settings.exploration_every, settings.exploration_growth_share)
    )
    for_you = ForYou(
        shelf,
        SnapshotBuilder(tails, shelf, platform.ids, clock),
        builds,
        PageTaker(hydrator, variety, lambda: now_ms(clock)),
        relations,
        interactions,
        seen,
        cursors,
        impressions,
        tunings,
        settings,
        clock,
    )
    following = Following(fanout.followed, relations, hydrator, cursors, impressions, platform.ids)
    feeds = Feeds(for_you, following, reads=reads.put)
    refresher = Refresher(for_you, shelf, clock)
    commands = FeedCommands(SqlNotInterestedStore(context.uow), peers.videos, context.uow, clock, acted=refresher.poke)
    events = EventWorker(platform.bus, "feed.viewers", TOPICS, FeedEvents(interactions, refresher.poke), clock)

    async def prune() -> int:
        return await served.prune(now_ms(clock) - settings.snapshot_ttl_s * 1000, 500)

    return FeedsDomain(
        servicers=[
            Servicer(
                feeds_pb2.DESCRIPTOR.services_by_name["FeedService"],
                FeedServicer(feeds, commands),
                feeds_pb2_grpc.add_FeedServiceServicer_to_server,
            )
        ],
        workers=[
            Job(events.name, events.run),
            Job("feed.refresh", refresher.run, local=True),
            Job("feed.popular", lambda: popular.run(settings.popular_refresh_s), local=True),
            *(Job(spool.name, spool.run, local=True) for spool in (pages, records, reads)),
        ],
        feeds=feeds,
        videos=peers.videos,
        cursors=cursors,
        acted=refresher.poke,
        refresher=refresher,
        popular=popular,
        commands=commands,
        prunes=[prune],
        flushes=[pages.flush, records.flush, reads.flush],
    )
