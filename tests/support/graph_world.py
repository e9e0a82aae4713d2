"""graph_svc whole on a real gRPC server: its workers run, accounts are rows, videos are a fake media_svc's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from graph_svc.accounts.stores.tables import accounts, usernames
from graph_svc.build import build
from graph_svc.engagement.worker import CLEANUP_GROUP, COUNTERS_GROUP, STREAM_GROUP
from graph_svc.follows.worker import GROUP as FOLLOW_GROUP
from graph_svc.notifications.worker import GROUP as NOTIFICATION_GROUP
from graph_svc.schema import metadata, outbox
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.graph.v1.engagement_pb2_grpc import EngagementServiceStub
from reelgraph.graph.v1.follows_pb2_grpc import FollowServiceStub
from reelgraph.graph.v1.notifications_pb2_grpc import NotificationServiceStub
from reelgraph.media.v1 import videos_pb2, videos_pb2_grpc
from svc_kit.bus.port import TOPICS, Record
from svc_kit.caller import Caller, current_caller
from svc_kit.clock import to_ms
from svc_kit.db import Database, connect
from svc_kit.errors import unavailable
from svc_kit.rpc.server import Context, Servicer
from svc_kit.service import Service
from svc_kit.text import name_key
from tests.support.clock import FakeClock
from tests.support.platform import BenchPlatform, create_tables, running, serve, test_platform

GROUPS = {
    FOLLOW_GROUP: ["follow", "viewer"],
    COUNTERS_GROUP: ["engagement"],
    STREAM_GROUP: ["engagement", "video"],
    CLEANUP_GROUP: ["video"],
    NOTIFICATION_GROUP: ["engagement", "follow", "video"],
}
ANNA, BEN, CLEO, DAN, EVE = 1, 2, 3, 4, 5
NAMES = {ANNA: "anna", BEN: "ben", CLEO: "cleo", DAN: "dan", EVE: "eve"}
VIDEO = 100
"""Anna's."""


@dataclass
class FakeVideos:
    """A VideoService with Anna's video 100 and whatever a test adds."""

    authors: dict[int, int] = field(default_factory=lambda: {VIDEO: ANNA})
    without_comments: set[int] = field(default_factory=set)
    hidden_from: set[tuple[int, int]] = field(default_factory=set)
    """Pairs of viewer and video."""
    down: bool = False
    tokens: list[str] = field(default_factory=list)
    """With which each call came."""

    def __getattr__(self, name: str) -> Any:
        if name[0].isupper():
            return self.BatchGetVideos
        raise AttributeError(name)

    async def BatchGetVideos(
        self, request: videos_pb2.BatchGetVideosRequest, context: Context
    ) -> videos_pb2.BatchGetVideosResponse:
        caller = current_caller()
        self.tokens.append(caller.token)
        if self.down:
            raise unavailable("media is down")
        seen = [i for i in request.ids if i in self.authors and (caller.user_id, i) not in self.hidden_from]
        return videos_pb2.BatchGetVideosResponse(
            videos=[
                videos_pb2.Video(id=i, author_id=self.authors[i], allow_comments=i not in self.without_comments)
                for i in seen
            ]
        )


@dataclass(frozen=True)
class GraphWorld:
    """The running service and its clients."""

    platform: BenchPlatform
    clock: FakeClock
    service: Service
    videos: FakeVideos
    db: Database
    follows: Any
    engagement: Any
    notifications: Any

    def viewer(self, user_id: int) -> Caller:
        """A logged-in caller; 0: nobody."""
        return self.platform.tokens.viewer(user_id) if user_id else Caller()

    async def call(self, method: Any, request: Any, user_id: int | Caller = 0, key: str = "") -> Any:
        """Call a unary method for a viewer."""
        if key:
            request.idempotency_key = key
        caller = user_id if isinstance(user_id, Caller) else self.viewer(user_id)
        return await self.platform.peer.call(method, request, caller)

    def stream(self, method: Any, request: Any, user_id: int = 0) -> AsyncIterator[Any]:
        """Call a streaming method for a viewer."""
        return self.platform.peer.stream(method, request, self.viewer(user_id))

    async def settle(self) -> None:
        """Return when everything written has been published and handled by every group."""
        unpublished = select(func.count()).select_from(outbox).where(outbox.c.published_at_ms.is_(None))
        async with asyncio.timeout(30):
            while True:
                async with self.db.read() as connection:
                    waiting = (await connection.execute(unpublished)).scalar_one()
                lags = [await self.platform.bus.lag(group, topics) for group, topics in GROUPS.items()]
                if not waiting and not any(lags):
                    return
                await asyncio.sleep(0.002)

    async def publish(self, topic: str, event: Event) -> None:
        """Put another service's event on the bus."""
        record = Record(topic, event.actor_id, event.id, event.entity, event.SerializeToString())
        await self.platform.bus.publish([record])

    async def replay(self) -> None:
        """Put every event of the outbox on the bus once more, the newest first, and let all groups handle them."""
        async with self.db.read() as connection:
            rows = (await connection.execute(select(outbox).order_by(outbox.c.seq.desc()))).all()
        records = [Record(r.topic, r.key, r.event_id, r.entity, bytes(r.payload)) for r in rows]
        assert {record.topic for record in records} <= set(TOPICS)
        await self.platform.bus.publish(records)
        await self.settle()

    async def events(self, *topics: str) -> Sequence[Event]:
        """What was emitted, in order."""
        query = select(outbox.c.payload).where(outbox.c.topic.in_(topics)).order_by(outbox.c.seq)
        async with self.db.read() as connection:
            return [Event.FromString(payload) for payload in (await connection.execute(query)).scalars()]


@asynccontextmanager
async def open_graph_world(
    folder: Path, *, workers: bool = True, graph_url: str = "", wide_url: str = "", db_url: str = ""
) -> AsyncIterator[GraphWorld]:
    """The service with five accounts, whose rows are written directly. `db_url`: the platform's database, SQLite unless
    given. `graph_url`, `wide_url`: where its follow graph and its notification log are, the own database unless
    given."""
    clock = FakeClock()
    async with (
        test_platform(folder, clock=clock, graph_url=graph_url, wide_url=wide_url, db_url=db_url) as platform,
        AsyncExitStack() as stack,
    ):
        await create_tables(platform, "graph", metadata)
        db = connect(platform.settings.service_db_url("graph"))
        stack.push_async_callback(db.close)
        await _add_accounts(db, clock)
        videos = FakeVideos()
        descriptor = videos_pb2.DESCRIPTOR.services_by_name["VideoService"]
        media = Servicer(descriptor, videos, videos_pb2_grpc.add_VideoServiceServicer_to_server)
        authenticator = platform.tokens.authenticator
        await stack.enter_async_context(serve(Service("media", [media]), authenticator, platform.sockets))
        service = await build(platform, stack)
        channel = await stack.enter_async_context(platform.serve(service))
        if workers:
            await stack.enter_async_context(running(service))
        stubs = (FollowServiceStub(channel), EngagementServiceStub(channel), NotificationServiceStub(channel))
        yield GraphWorld(platform, clock, service, videos, db, *stubs)


async def _add_accounts(db: Database, clock: FakeClock) -> None:
    async with db.write() as connection:
        for user_id, name in NAMES.items():
            account = {
                "user_id": user_id,
                "username": name,
                "display_name": name.title(),
                "bio": "",
                "avatar_url": "",
                "password_hash": "",
                "created_at_ms": to_ms(clock.now()),
                "version": 1,
            }
            await connection.execute(accounts.insert().values(account))
            await connection.execute(usernames.insert().values(name_key=name_key(name), user_id=user_id))
