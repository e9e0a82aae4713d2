"""SearchService on a real gRPC server, its worker, and the services it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from feed_svc.build import build
from feed_svc.schema import metadata
from feed_svc.search.stores import SEARCH_SCHEMES
from feed_svc.search.stores.rpc import RpcAccountDirectory, RpcVideoDirectory
from feed_svc.search.worker import GROUP, TOPICS
from reelgraph.feed.v1 import search_pb2 as pb
from reelgraph.feed.v1.search_pb2_grpc import SearchServiceStub
from reelgraph.graph.v1.accounts_pb2_grpc import AccountServiceStub
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceStub
from reelgraph.media.v1.videos_pb2_grpc import VideoServiceStub
from svc_kit.backends import migrate
from svc_kit.bus.runner import caught_up
from svc_kit.caller import ANONYMOUS, Caller
from svc_kit.clock import SystemClock
from svc_kit.db import Database, connect
from svc_kit.service import Service
from tests.support.clock import FakeClock
from tests.support.engines import servers
from tests.support.fake_meilisearch import fake_meilisearch
from tests.support.feed_peers import Story, Truth, served_truth
from tests.support.meilisearch import meilisearch_url, own_indexes
from tests.support.platform import BenchPlatform, create_tables, running, test_platform

KINDS = {
    pb.SearchType.SEARCH_TYPE_VIDEO: "video",
    pb.SearchType.SEARCH_TYPE_USER: "user",
    pb.SearchType.SEARCH_TYPE_HASHTAG: "tag",
}


@dataclass
class World:
    """A running SearchService, its client, and the truth it projects."""

    platform: BenchPlatform
    clock: FakeClock
    service: Service
    stub: Any
    truth: Truth
    story: Story
    db: Database

    def videos(self) -> RpcVideoDirectory:
        """Videos as the service asks for them."""
        return RpcVideoDirectory(self.platform.peer, VideoServiceStub(self.platform.channels.media))

    def accounts(self) -> RpcAccountDirectory:
        """Accounts as the service asks for them."""
        graph = self.platform.channels.graph
        return RpcAccountDirectory(self.platform.peer, AccountServiceStub(graph), FollowServiceStub(graph))

    async def settle(self) -> None:
        """Publish what the story told and wait until search knows it."""
        await self.story.publish()
        await caught_up(self.platform.bus, GROUP, TOPICS, SystemClock(), 20)

    async def ask(
        self, query: str, caller: Caller = ANONYMOUS, types: Sequence[Any] = (), size: int = 10, token: str = ""
    ) -> pb.SearchResponse:
        """Search."""
        request = pb.SearchRequest(query=query, types=types, page_size=size, page_token=token)
        answer: pb.SearchResponse = await self.platform.peer.call(self.stub.Search, request, caller)
        return answer

    async def found(self, query: str, caller: Caller = ANONYMOUS, types: Sequence[Any] = ()) -> list[str]:
        """Results as `video:1`, `user:2`, `tag:cats`."""
        answer = await self.ask(query, caller, types, size=100)
        return [f"{KINDS[hit.type]}:{hit.hashtag.name or hit.id}" for hit in answer.hits]

    async def hashtags(self, *names: str) -> dict[str, int]:
        """Numbers of hashtags by name."""
        request = pb.BatchGetHashtagsRequest(names=names)
        answer = await self.platform.peer.call(self.stub.BatchGetHashtags, request, ANONYMOUS)
        return {hashtag.name: hashtag.video_count for hashtag in answer.hashtags}

    async def tagged(self, name: str, caller: Caller = ANONYMOUS, size: int = 100) -> list[int]:
        """All videos of a hashtag, page by page."""
        found: list[int] = []
        token = ""
        while True:
            request = pb.ListHashtagVideosRequest(name=name, page_size=size, page_token=token)
            answer = await self.platform.peer.call(self.stub.ListHashtagVideos, request, caller)
            found += [entry.video_id for entry in answer.entries]
            token = answer.next_page_token
            if not token:
                return found


@pytest.fixture(params=["tantivy", "fake meilisearch", *servers("meilisearch")])
async def search_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Empty for the embedded index in the platform's folder."""
    if request.param == "tantivy":
        yield ""
        return
    with fake_meilisearch() as (fake, _):
        async with own_indexes(meilisearch_url() if request.param == "meilisearch" else fake) as url:
            await migrate("REELGRAPH_SEARCH_URL", url, SEARCH_SCHEMES)
            yield url


@pytest.fixture
async def world(tmp_path: Path, search_url: str) -> AsyncIterator[World]:
    clock = FakeClock()
    async with test_platform(tmp_path, clock=clock, search_url=search_url) as platform, AsyncExitStack() as stack:
        await create_tables(platform, "feed", metadata)
        truth = await stack.enter_async_context(served_truth(platform))
        service = await build(platform, stack)
        searching = [job for job in service.workers if job.name == GROUP]
        part = Service("feed", service.servicers, searching, rebuilds=service.rebuilds)
        channel = await stack.enter_async_context(platform.serve(part))
        await stack.enter_async_context(running(part))
        story = Story(truth, clock, platform.ids, platform.bus)
        db = connect(platform.settings.service_db_url("feed"))
        stack.push_async_callback(db.close)
        yield World(platform, clock, part, SearchServiceStub(channel), truth, story, db)
