"""The fanout domain, composed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from feed_svc.context import Domain, FeedContext
from feed_svc.fanout.commands import Activity, FanoutCommands, FanoutRebuilds
from feed_svc.fanout.queries import FollowedVideos
from feed_svc.fanout.store import FollowGraph, PublishedVideos, TimelineStore
from feed_svc.fanout.stores import TIMELINE_SCHEMES
from feed_svc.fanout.stores.redis import RedisInboxStore
from feed_svc.fanout.stores.rpc import RpcFollowGraph, RpcPublishedVideos
from feed_svc.fanout.stores.sql import SqlActivityStore, SqlFanoutJobs
from feed_svc.fanout.worker import TOPICS, FanoutEvents, FanoutRunner
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceStub
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.backends import resolve
from svc_kit.bus.runner import EventWorker
from svc_kit.service import Job


class OpenTimelines(TimelineStore, Protocol):
    """An opened store of timelines."""

    async def check(self) -> None:
        """Raises UNAVAILABLE when it can't be read."""

    async def close(self) -> None:
        """Let go of it."""


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
    timelines = await _open_timelines(context)
    jobs = SqlFanoutJobs(context.db, clock)
    inboxes = RedisInboxStore(
        *(platform.cache, clock),
        ttl_s=settings.push_within_hours * 3600,
        entries=settings.inbox_entries,
        brief_s=settings.brief_inbox_s,
    )
    activity = SqlActivityStore(context.uow)
    followed = FollowedVideos(inboxes, timelines, jobs, graph, settings, clock)
    runner = FanoutRunner(clock, settings.fanout_concurrency)
    commands = FanoutCommands(timelines, inboxes, jobs, graph, settings, clock, queued=runner.wake)
    rebuilds = FanoutRebuilds(timelines, followed, activity, graph, videos, settings, clock)
    events = EventWorker(platform.bus, "feed.fanout", TOPICS, FanoutEvents(commands), clock)
    return Fanout(
        workers=[Job(events.name, events.run), Job("feed.fanout_jobs", lambda: runner.run(commands))],
        rebuilds={
            "author_timelines": rebuilds.author_timelines,
            "inboxes": rebuilds.inboxes,
            "viewer_activity": rebuilds.viewer_activity,
        },
        checks={"author timelines": timelines.check},
        followed=followed,
        timelines=timelines,
        activity=Activity(activity, settings, clock),
        commands=commands,
        prunes=[lambda: jobs.prune(500)],
    )


async def _open_timelines(context: FeedContext) -> OpenTimelines:
    """The timelines that `REELGRAPH_WIDE_URL` names; without one, in the service's own database."""
    own_url = context.platform.settings.service_db_url("feed")
    url = context.platform.settings.wide_url or own_url
    opened: OpenTimelines = await resolve("REELGRAPH_WIDE_URL", url, TIMELINE_SCHEMES).open(
        *(url, context.db if url == own_url else None),
        clock=context.platform.clock,
        gone_days=context.settings.timeline_gone_days,
    )
    context.stack.push_async_callback(opened.close)
    return opened
