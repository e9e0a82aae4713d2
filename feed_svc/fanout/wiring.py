"""The fanout domain, composed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from feed_svc.context import Domain, FeedContext
from feed_svc.fanout.commands import Activity, FanoutCommands, FanoutRebuilds
from feed_svc.fanout.queries import FollowedVideos
from feed_svc.fanout.store import FollowGraph, PublishedVideos, TimelineStore
from feed_svc.fanout.stores.redis import RedisInboxStore
from feed_svc.fanout.stores.rpc import RpcFollowGraph, RpcPublishedVideos
from feed_svc.fanout.stores.sql import SqlActivityStore, SqlFanoutJobs, SqlTimelineStore
from feed_svc.fanout.worker import TOPICS, FanoutEvents, FanoutRunner
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceStub
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.bus.runner import EventWorker
from svc_kit.service import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Fanout(Domain):
    """The wired fan-out, and what the feeds need of it."""

    followed: FollowedVideos
    timelines: TimelineStore
    activity: Activity
    commands: FanoutCommands
    prunes: Sequence[Callable[[], Awaitable[int]]]


async def build_fanout(
    context: FeedContext, graph: FollowGraph | None = None, videos: PublishedVideos | None = None
) -> Fanout:
    """Author timelines and inboxes, from `video.*`. `graph` and `videos`: by gRPC unless given."""
    platform, settings, clock = context.platform, context.settings, context.platform.clock
    graph = graph or RpcFollowGraph(platform.peer, FollowServiceStub(platform.channels.graph))
    videos = videos or RpcPublishedVideos(platform.peer, VideoServiceStub(platform.channels.media))
    timelines = SqlTimelineStore(context.db, clock)
    jobs = SqlFanoutJobs(context.db, clock)
    inboxes = RedisInboxStore(platform.cache, ttl_s=settings.push_within_hours * 3600, entries=settings.inbox_entries)
    activity = SqlActivityStore(context.db)
    followed = FollowedVideos(inboxes, timelines, jobs, settings)
    runner = FanoutRunner(clock, settings.fanout_concurrency)
    commands = FanoutCommands(timelines, inboxes, jobs, graph, settings, queued=runner.wake)
    rebuilds = FanoutRebuilds(timelines, followed, activity, graph, videos, settings, clock)
    events = EventWorker(platform.bus, "feed.fanout", TOPICS, FanoutEvents(commands), clock)
    return Fanout(
        workers=[Job(events.name, events.run), Job("feed.fanout_jobs", lambda: runner.run(commands))],
        rebuilds={"author_timelines": rebuilds.author_timelines, "inboxes": rebuilds.inboxes},
        followed=followed,
        timelines=timelines,
        activity=Activity(activity, settings, clock),
        commands=commands,
        prunes=[lambda: jobs.prune(500)],
    )
