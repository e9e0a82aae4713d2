"""TrendingService on a real gRPC server, its worker, and the services it asks."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from feed_svc.analytics.worker import GROUP as ARCHIVE
from feed_svc.build import build
from feed_svc.schema import metadata
from feed_svc.settings import FeedSettings
from feed_svc.trending.commands import TOPICS
from feed_svc.trending.worker import GROUP
from reelgraph.events.v1.engagement_pb2 import EngagementVideoLiked, EngagementVideoShared, EngagementVideoUnliked
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.watch_pb2 import WatchRecorded
from reelgraph.feed.v1.trending_pb2 import ListTrendingRequest, ListTrendingResponse
from reelgraph.feed.v1.trending_pb2_grpc import TrendingServiceStub
from svc_kit.bus.runner import caught_up
from svc_kit.caller import ANONYMOUS, Caller
from svc_kit.clock import SystemClock
from svc_kit.service import Job, Service
from tests.support.clock import FakeClock
from tests.support.feed_peers import Story, Truth, served_truth
from tests.support.platform import BenchPlatform, create_tables, running, test_platform

SETTINGS = FeedSettings(trending_refresh_s=0, archive_flush_s=0, viral_least_views=5, viral_views_an_hour=30)


@dataclass
class World:
    """A running TrendingService, its client, and the truth it projects."""

    platform: BenchPlatform
    clock: FakeClock
    service: Service
    stub: Any
    truth: Truth
    story: Story
    viral: Job

    async def look_for_viral(self) -> None:
        """Let the job that finds viral videos look once."""
        before = self.clock.sleepers
        looking = asyncio.ensure_future(self.viral.run())
        async with asyncio.timeout(20):
            while self.clock.sleepers <= before:
                await asyncio.sleep(0.005)
        looking.cancel()

    async def settle(self) -> None:
        """Publish what the story told and wait until trending and the archive have it."""
        await self.story.publish()
        await caught_up(self.platform.bus, GROUP, TOPICS, SystemClock(), 20)
        await caught_up(self.platform.bus, ARCHIVE, TOPICS, SystemClock(), 20)

    async def page(self, size: int = 10, token: str = "", caller: Caller = ANONYMOUS) -> ListTrendingResponse:
        """One page."""
        request = ListTrendingRequest(page_size=size, page_token=token)
        answer: ListTrendingResponse = await self.platform.peer.call(self.stub.ListTrending, request, caller)
        return answer

    async def top(self, caller: Caller = ANONYMOUS) -> list[int]:
        """The first hundred."""
        return [entry.video_id for entry in (await self.page(100, caller=caller)).entries]

    def watch(self, user_id: int, video_id: int, watched_ms: int, duration_ms: int = 10_000) -> Event:
        """Tell of a watch."""
        watch_id = str(uuid.uuid4())
        video = self.truth.videos.get(video_id)
        body = WatchRecorded(
            user_id=user_id,
            video_id=video_id,
            author_id=video.author_id if video else 0,
            watch_id=watch_id,
            watched_ms=watched_ms,
            duration_ms=duration_ms,
        )
        return self.story.tell(f"watch:{user_id}:{watch_id}", user_id, watch_recorded=body)

    def like(self, user_id: int, video_id: int) -> Event:
        """Tell of a like."""
        body = EngagementVideoLiked(user_id=user_id, video_id=video_id, author_id=self.truth.videos[video_id].author_id)
        return self.story.tell(f"like:{user_id}:{video_id}", user_id, engagement_video_liked=body)

    def unlike(self, user_id: int, video_id: int) -> Event:
        """Tell that it was taken back."""
        body = EngagementVideoUnliked(user_id=user_id, video_id=video_id)
        return self.story.tell(f"like:{user_id}:{video_id}", user_id, engagement_video_unliked=body)

    def share(self, user_id: int, video_id: int) -> Event:
        """Tell of a share."""
        share_id = self.platform.ids.next()
        body = EngagementVideoShared(
            share_id=share_id, user_id=user_id, video_id=video_id, author_id=self.truth.videos[video_id].author_id
        )
        return self.story.tell(f"share:{share_id}", user_id, engagement_video_shared=body)


@asynccontextmanager
async def open_world(folder: Path, **changed: Any) -> AsyncIterator[World]:
    """TrendingService with other settings than the usual."""
    clock = FakeClock()
    async with test_platform(folder, clock=clock) as platform, AsyncExitStack() as stack:
        await create_tables(platform, "feed", metadata)
        truth = await stack.enter_async_context(served_truth(platform))
        service = await build(platform, stack, SETTINGS.model_copy(update=changed))
        jobs = [job for job in service.workers if job.name in (GROUP, ARCHIVE)]
        (viral,) = [job for job in service.workers if job.name == "feed.trending.viral"]
        part = Service("feed", service.servicers, jobs, rebuilds=service.rebuilds)
        channel = await stack.enter_async_context(platform.serve(part))
        await stack.enter_async_context(running(part))
        story = Story(truth, clock, platform.ids, platform.bus)
        yield World(platform, clock, part, TrendingServiceStub(channel), truth, story, viral)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        yield opened
