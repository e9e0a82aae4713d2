"""A gateway of a few fields for the browser test: the real explorer in front of a small schema."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from strawberry.asgi import GraphQL

from gateway.explorer import DemoLogin, explorer_page, explorer_routes

DEMO = DemoLogin("ada", "correct horse")
# Whose access token is about to expire as soon as it is given.
HASTY = DemoLogin("hasty", "battery staple")
CREATED = datetime(2026, 3, 1, tzinfo=UTC)


@strawberry.enum
class FeedKind(Enum):
    FOR_YOU = "FOR_YOU"
    FOLLOWING = "FOLLOWING"


@strawberry.type
class User:
    id: strawberry.ID
    username: str
    display_name: str
    avatar_url: str | None = None
    follower_count: int = 7
    viewer_follows: bool = False


@strawberry.type
class Rendition:
    width: int
    height: int
    codec: str
    bitrate_kbps: int


@strawberry.type
class Playback:
    hls_url: str
    poster_url: str
    expires_at: datetime
    renditions: list[Rendition]


@strawberry.type
class Video:
    id: strawberry.ID
    caption: str
    author: User
    playback: Playback
    hashtags: list[str]
    created_at: datetime = CREATED
    duration_ms: int = 4200
    like_count: int = 3
    comment_count: int = 1
    share_count: int = 0
    view_count: int = 120
    viewer_has_liked: bool = False


@strawberry.type
class FeedReason:
    kind: str
    text: str
    user: User | None = None
    video: Video | None = None


@strawberry.type
class VideoEdge:
    node: Video
    cursor: str
    reason: FeedReason | None = None


@strawberry.type
class PageInfo:
    has_next_page: bool = False
    end_cursor: str | None = None


@strawberry.type
class VideoConnection:
    edges: list[VideoEdge]
    page_info: PageInfo
    snapshot_id: str = "s1"
    stale: bool = False


@strawberry.type
class UserError:
    message: str
    code: str
    field: list[str] | None = None


@strawberry.input
class LogInInput:
    username: str
    password: str
    device: str | None = None


@strawberry.input
class RefreshSessionInput:
    refresh_token: str
    idempotency_key: str | None = None


@strawberry.type
class LogInPayload:
    access_token: str | None = None
    refresh_token: str | None = None
    access_expires_at: datetime | None = None
    user: User | None = None
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.type
class Comment:
    id: strawberry.ID
    text: str
    author: User
    created_at: datetime = CREATED
    like_count: int = 0

    @strawberry.field
    def parent(self) -> Comment | None:
        return None


def _videos() -> VideoConnection:
    author = User(id=strawberry.ID("u1"), username="grace", display_name="Grace")
    edges = [
        VideoEdge(
            node=Video(
                id=strawberry.ID(f"v{number}"),
                caption=f"Clip {number} #dance",
                hashtags=["dance"],
                author=author,
                playback=Playback(
                    hls_url=f"/v/token/set{number}/master.m3u8",
                    poster_url=f"/v/token/set{number}/poster.jpg",
                    expires_at=CREATED,
                    renditions=[Rendition(width=360, height=640, codec="avc1.64001f", bitrate_kbps=500)],
                ),
            ),
            cursor=f"c{number}",
            reason=FeedReason(kind="TRENDING", text="Trending today"),
        )
        for number in (1, 2)
    ]
    return VideoConnection(edges=edges, page_info=PageInfo())


@strawberry.type
class Query:
    @strawberry.field
    def feed(self, kind: FeedKind, first: int = 10, after: str | None = None) -> VideoConnection:
        return _videos()

    @strawberry.field
    def trending(self, first: int = 10, after: str | None = None) -> VideoConnection:
        return _videos()


@strawberry.type
class Mutation:
    @strawberry.mutation
    def log_in(self, input: LogInInput) -> LogInPayload:
        if DemoLogin(input.username, input.password) not in (DEMO, HASTY):
            wrong = UserError(message="User name or password is wrong.", code="INVALID_CREDENTIALS")
            return LogInPayload(user_errors=[wrong])
        return LogInPayload(
            access_token="access-1",
            refresh_token="refresh-1",
            access_expires_at=datetime.now(UTC) + timedelta(seconds=30 if input.username == HASTY.username else 600),
            user=User(id=strawberry.ID("u2"), username=input.username, display_name="Ada"),
        )

    @strawberry.mutation
    def refresh_session(self, input: RefreshSessionInput) -> LogInPayload:
        if input.refresh_token != "refresh-1":
            reused = UserError(message="The session is over.", code="INVALID_CREDENTIALS")
            return LogInPayload(user_errors=[reused])
        return LogInPayload(
            access_token="access-2",
            refresh_token="refresh-2",
            access_expires_at=datetime.now(UTC) + timedelta(minutes=10),
            user=User(id=strawberry.ID("u2"), username=HASTY.username, display_name="Hasty"),
        )


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def comment_added(
        self, info: strawberry.Info, video_id: strawberry.ID, after: strawberry.ID | None = None
    ) -> AsyncIterator[Comment]:
        token = (info.context.get("connection_params") or {}).get("authorization", "nobody")
        author = User(id=strawberry.ID("u1"), username="grace", display_name="Grace")
        yield Comment(id=strawberry.ID("c1"), text=f"{video_id} for {token}", author=author)
        # A live subscription stays open until the viewer leaves it.
        await asyncio.Event().wait()


@dataclass
class FakeGateway:
    """The running app: its address, and the authorization header of every POST it answered."""

    url: str
    authorizations: list[str | None] = field(default_factory=list)


@asynccontextmanager
async def running(dist: Path, media: Path) -> AsyncIterator[FakeGateway]:
    """Serve the pages of ``dist`` and, at ``/v``, the files of ``media`` on a free port."""
    schema = strawberry.Schema(query=Query, mutation=Mutation, subscription=Subscription)
    api = GraphQL[None, None](schema, graphql_ide=None)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        gateway = FakeGateway(f"http://127.0.0.1:{listener.getsockname()[1]}")

        async def page(_request: Request) -> Response:
            return explorer_page(dist)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            gateway.authorizations.append(Headers(scope=scope).get("authorization"))
            await api(scope, receive, send)

        app = Starlette(
            routes=[
                Route("/graphql", page, methods=["GET"]),
                WebSocketRoute("/graphql", api),
                *explorer_routes(dist, lambda: [DEMO], version="1.2.3"),
                Mount("/v", app=StaticFiles(directory=media)),
                Mount("/", app=answer),
            ]
        )
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield gateway
        finally:
            server.should_exit = server.force_exit = True
            await serving
