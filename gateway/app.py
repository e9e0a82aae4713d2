"""The gateway, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from gateway.answers import ErrorFormat
from gateway.clients import clients_of
from gateway.connections import Connections
from gateway.context import Context
from gateway.documents import Documents
from gateway.execution import Executor, UsePrepared
from gateway.explorer import DemoLogin, explorer_page, explorer_routes, locate_dist
from gateway.http.clients import ClientReader
from gateway.http.event_stream import Streaming
from gateway.http.graphql import GraphQLEndpoint
from gateway.http.origins import Origins
from gateway.http.pages import Pages
from gateway.limits.rate import AnonymousRate
from gateway.limits.shape import ShapeLimits
from gateway.loaders import Loaders
from gateway.schema import build_schema
from gateway.sessions import Sessions
from gateway.settings import GatewaySettings
from gateway.subscriptions.sharing import SharedAnswers
from gateway.subscriptions.socket import Socket, SocketLimits
from svc_kit.asgi import REQUEST_ID_HEADER, RequestIds
from svc_kit.auth import TokenVerifier
from svc_kit.caller import Caller
from svc_kit.clock import Clock
from svc_kit.readiness import Readiness
from svc_kit.service import Platform
from svc_kit.settings import Mode
from svc_kit.telemetry import log

DRAIN_S = 5.0
RESTART_S = 1.0
_log = log(__name__)
_ALLOWED_HEADERS = (
    *("authorization", "content-type", "accept", "accept-language", REQUEST_ID_HEADER),
    *("x-client-id", "x-client-device", "x-client-timezone", "apollo-require-preflight", "x-apollo-operation-name"),
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The routes and middleware of the HTTP side; another service's routes may stand beside them in one app."""

    routes: list[BaseRoute]
    middleware: list[Middleware]
    connections: Connections

    def app(self) -> Starlette:
        """An app of the gateway alone."""
        app = Starlette(routes=self.routes, middleware=self.middleware)
        # The address of such a redirect is taken from the Host header.
        app.router.redirect_slashes = False
        return app

    async def drain(self, grace_s: float = DRAIN_S) -> None:
        """Send the clients of sockets and event streams away, to come back elsewhere. Call it before the HTTP server
        stops."""
        await self.connections.drain(grace_s)


async def build_gateway(
    platform: Platform,
    verifier: TokenVerifier,
    stack: AsyncExitStack,
    *,
    settings: GatewaySettings | None = None,
    demo_logins: Callable[[], Sequence[DemoLogin]] = tuple,
    readiness: Readiness | None = None,
) -> Gateway:
    """A gateway to the services behind `platform.channels`. `platform.settings.public_url` must be set. What it runs in
    the background ends with `stack`. `readiness`: of what this process stands on, for `/readyz`. Raises ValueError for
    settings that make no sense."""
    own = settings or GatewaySettings()
    production = platform.settings.mode is Mode.PRODUCTION
    sessions = Sessions(verifier, clients_of(platform.channels), platform.peer, platform.cache, platform.clock)
    connections = Connections(own.max_connections, own.max_connections_per_address)
    executor = _executor(own, production=production)
    streaming = Streaming(executor, SharedAnswers(executor), sessions, connections, platform.clock, own.ping_interval_s)
    origins = Origins(own.origins, platform.settings.public_url, loopback=not production)
    reader = ClientReader(own.proxies, own.region_header)
    new_context = _contexts(platform, own, sessions, reader)
    channels = platform.channels
    called = {"graph": channels.graph, "media": channels.media, "feed": channels.feed}
    pages = Pages(new_context, called, readiness or Readiness({}, platform.clock))
    dist = locate_dist(own.explorer_dist)
    routes: list[BaseRoute] = [
        *_graphql(platform, own, streaming, origins, reader, new_context, dist),
        *pages.routes(),
        *explorer_routes(dist, tuple if production else demo_logins, media_origins=own.media),
    ]
    _follow_sessions(sessions, platform.clock, own.session_recheck_s, stack)
    return Gateway(routes, _middleware(origins), connections)


def _contexts(
    platform: Platform, own: GatewaySettings, sessions: Sessions, reader: ClientReader
) -> Callable[[HTTPConnection, Caller], Context]:
    clients, public_url = clients_of(platform.channels), platform.settings.public_url.rstrip("/")

    def new_context(connection: HTTPConnection, caller: Caller) -> Context:
        return Context(
            clients=clients,
            peer=platform.peer,
            public_url=public_url,
            make_loaders=Loaders,
            session_ended=sessions.end,
            caller=caller,
            client=reader.context(connection),
            client_address=reader.address(connection),
            parallel_rpcs=own.max_parallel_rpcs,
        )

    return new_context


def _graphql(
    platform: Platform,
    own: GatewaySettings,
    streaming: Streaming,
    origins: Origins,
    reader: ClientReader,
    new_context: Callable[[HTTPConnection, Caller], Context],
    dist: Path | None,
) -> list[BaseRoute]:
    rate = AnonymousRate(platform.clock, own.anonymous_requests_per_s, own.anonymous_burst)
    limits = SocketLimits(
        own.max_socket_operations, own.socket_queue_messages, own.connection_init_timeout_s, own.ping_interval_s
    )

    def admit(connection: HTTPConnection) -> None:
        rate.take(reader.address(connection))

    async def socket(websocket: WebSocket) -> None:
        if not origins.allows(websocket.headers.get("origin")):
            await websocket.close()
            return
        await Socket(websocket, streaming, new_context, admit, limits).serve()

    endpoint = GraphQLEndpoint(
        streaming,
        new_context,
        origins,
        admit,
        lambda: explorer_page(dist, media_origins=own.media),
        max_body_bytes=own.max_body_bytes,
    )
    return [
        Route("/graphql", endpoint.__call__, methods=["GET", "POST"]),
        WebSocketRoute("/graphql", socket),
    ]


def _executor(own: GatewaySettings, *, production: bool) -> Executor:
    schema = build_schema([UsePrepared])
    shape = ShapeLimits(own.max_depth, own.max_aliases, own.max_root_fields, own.max_directives)
    introspection = own.introspection if own.introspection is not None else not production
    documents = Documents(schema.graphql, shape=shape, max_tokens=own.max_tokens, introspection=introspection)
    suggestions = own.suggestions if own.suggestions is not None else not production
    return Executor(
        schema,
        documents,
        ErrorFormat(suggestions=suggestions),
        max_cost=own.max_cost,
        timeout_s=own.request_timeout_s,
    )


def _middleware(origins: Origins) -> list[Middleware]:
    return [
        Middleware(RequestIds),
        Middleware(
            CORSMiddleware,
            allow_origins=sorted(origins.allowed),
            allow_origin_regex=origins.pattern,
            allow_methods=["GET", "POST", "PUT", "HEAD"],
            allow_headers=_ALLOWED_HEADERS,
            expose_headers=[REQUEST_ID_HEADER, "retry-after"],
            max_age=600,
        ),
    ]


def _follow_sessions(sessions: Sessions, clock: Clock, recheck_s: float, stack: AsyncExitStack) -> None:
    tasks = [
        asyncio.create_task(_again(sessions.watch, clock), name="gateway.revocations"),
        asyncio.create_task(_again(lambda: sessions.recheck_every(recheck_s), clock), name="gateway.sessions"),
    ]

    async def stop() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(stop)


async def _again(work: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Run what must never stop: a defect in it is logged, not the end of it."""
    while True:
        try:
            await work()
        except Exception as error:
            _log.error("background work failed", exc_info=error)
        await clock.sleep(RESTART_S)
