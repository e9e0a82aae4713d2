"""The gateway on a real HTTP server, over real gRPC servers of fake services.

async with gateway_over_fakes(tmp_path) as bench:
    viewer = bench.log_in(bench.world.add_user("ada").id)
    answer = await bench.query("{ viewer { id } }", token=viewer.token)
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from gateway.app import Gateway, build_gateway
from gateway.explorer import DemoLogin
from gateway.settings import GatewaySettings
from reelgraph.feed.v1 import (
    feeds_pb2,
    feeds_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
    trending_pb2,
    trending_pb2_grpc,
    watches_pb2,
    watches_pb2_grpc,
)
from reelgraph.graph.v1 import (
    accounts_pb2,
    accounts_pb2_grpc,
    engagement_pb2,
    engagement_pb2_grpc,
    follows_pb2,
    follows_pb2_grpc,
    notifications_pb2,
    notifications_pb2_grpc,
)
from reelgraph.media.v1 import uploads_pb2, uploads_pb2_grpc, videos_pb2, videos_pb2_grpc
from svc_kit.caller import current_caller
from svc_kit.clock import Clock
from svc_kit.errors import unavailable
from svc_kit.readiness import Check, Readiness
from svc_kit.rpc.server import Servicer
from svc_kit.service import Service
from svc_kit.settings import Mode
from tests.support.gateway_graph import FakeAccounts, FakeEngagement, FakeFollows, FakeNotifications
from tests.support.gateway_media_feed import FakeFeeds, FakeSearch, FakeTrending, FakeUploads, FakeVideos, FakeWatches
from tests.support.gateway_world import World
from tests.support.platform import BenchPlatform, test_platform


class Recording:
    """A fake servicer whose calls are written down, and fail while they are `down`. What it lacks is never called."""

    def __init__(self, world: World, fake: object) -> None:
        self._world = world
        self._fake = fake

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._fake, name, None)
        if inspect.isasyncgenfunction(method):

            async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
                self._enter(name, request)
                async for message in method(request, context):
                    yield message

            return stream

        async def call(request: Any, context: Any) -> Any:
            self._enter(name, request)
            if method is None:
                raise AssertionError(f"{name} is not faked")
            return await method(request, context)

        return call

    def _enter(self, name: str, request: Any) -> None:
        self._world.calls.append((name, request))
        self._world.viewers.append(current_caller().user_id)
        if name in self._world.down:
            raise unavailable(f"{name} is down.")


def fake_services(world: World, platform: BenchPlatform) -> list[Service]:
    """The services that the gateway calls."""

    def servicer(module: Any, name: str, stubs: Any, fake: object) -> Servicer:
        register = getattr(stubs, f"add_{name}Servicer_to_server")
        return Servicer(module.DESCRIPTOR.services_by_name[name], Recording(world, fake), register)

    graph = [
        servicer(accounts_pb2, "AccountService", accounts_pb2_grpc, FakeAccounts(world, platform.tokens)),
        servicer(follows_pb2, "FollowService", follows_pb2_grpc, FakeFollows(world)),
        servicer(engagement_pb2, "EngagementService", engagement_pb2_grpc, FakeEngagement(world)),
        servicer(notifications_pb2, "NotificationService", notifications_pb2_grpc, FakeNotifications(world)),
    ]
    media = [
        servicer(uploads_pb2, "UploadService", uploads_pb2_grpc, FakeUploads(world)),
        servicer(videos_pb2, "VideoService", videos_pb2_grpc, FakeVideos(world)),
    ]
    feed = [
        servicer(feeds_pb2, "FeedService", feeds_pb2_grpc, FakeFeeds(world)),
        servicer(watches_pb2, "WatchService", watches_pb2_grpc, FakeWatches(world)),
        servicer(trending_pb2, "TrendingService", trending_pb2_grpc, FakeTrending(world)),
        servicer(search_pb2, "SearchService", search_pb2_grpc, FakeSearch(world)),
    ]
    return [Service("graph", graph), Service("media", media), Service("feed", feed)]


@dataclass(frozen=True)
class LoggedIn:
    """A viewer of a test."""

    id: int
    session_id: int
    token: str


@dataclass
class Bench:
    """A running gateway."""

    world: World
    platform: BenchPlatform
    gateway: Gateway
    url: str
    http: httpx.AsyncClient

    def log_in(self, user_id: int) -> LoggedIn:
        """A session of a user, and its access token."""
        session = self.world.add_session(user_id)
        return LoggedIn(user_id, session.id, self.platform.tokens.issue(user_id, session.id))

    async def post(
        self, query: str, variables: dict[str, Any] | None = None, token: str = "", **headers: str
    ) -> httpx.Response:
        """One POST; header names are given with `_` for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["authorization"] = f"Bearer {token}"
        return await self.http.post("/graphql", json={"query": query, "variables": variables or {}}, headers=sent)

    async def query(
        self, query: str, variables: dict[str, Any] | None = None, token: str = "", **headers: str
    ) -> dict[str, Any]:
        """The body of a POST's answer."""
        body: dict[str, Any] = (await self.post(query, variables, token, **headers)).json()
        return body

    async def data(self, query: str, variables: dict[str, Any] | None = None, token: str = "") -> dict[str, Any]:
        """The data of an answer without errors."""
        body = await self.query(query, variables, token)
        assert "errors" not in body, body["errors"]
        data: dict[str, Any] = body["data"]
        return data

    async def mutate(self, field_name: str, input: dict[str, Any], selection: str, token: str = "") -> dict[str, Any]:
        """The payload of a mutation, with its `userErrors`."""
        kind = f"{field_name[0].upper()}{field_name[1:]}Input"
        text = (
            f"mutation($i: {kind}!) {{ {field_name}(input: $i) {{ {selection} userErrors {{ field message code }} }} }}"
        )
        data = await self.data(text, {"i": input}, token)
        payload: dict[str, Any] = data[field_name]
        return payload


@asynccontextmanager
async def gateway_over_fakes(
    folder: Path,
    *,
    settings: GatewaySettings | None = None,
    clock: Clock | None = None,
    mode: Mode = Mode.DEVELOPMENT,
    demo_logins: Sequence[DemoLogin] = (),
    without: frozenset[str] = frozenset(),
    checks: Mapping[str, Check] | None = None,
) -> AsyncIterator[Bench]:
    """A gateway on a free port over fakes of every service it calls, but those named in `without`."""
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(test_platform(folder, clock=clock))
        platform.settings.mode, platform.settings.public_url = mode, "https://reels.test"
        world = World()
        for service in fake_services(world, platform):
            if service.name in without:
                continue
            await stack.enter_async_context(platform.serve(service))
        gateway = await build_gateway(
            *(platform, platform.tokens.verifier, stack),
            settings=settings,
            demo_logins=lambda: demo_logins,
            readiness=Readiness(checks or {}, platform.clock),
        )
        url = await stack.enter_async_context(_serving(gateway))
        stack.push_async_callback(gateway.drain, 1.0)
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False, timeout=20))
        yield Bench(world, platform, gateway, url, http)


@asynccontextmanager
async def _serving(gateway: Gateway) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            gateway.app(),
            lifespan="off",
            log_level="warning",
            ws="websockets-sansio",
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
