"""Serving: servers, workers and the HTTP side of the chosen roles, until a signal; then drained in order."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from launcher.compose import ALL, Node, open_node, serve_tcp
from launcher.demo.logins import demo_logins
from launcher.engines import migrate_engines, require_engines
from launcher.http_head import BoundedHead
from launcher.migrate import migrate_all
from launcher.supervise import supervised
from svc_kit.asgi import RequestIds
from svc_kit.ids import DirectoryLock
from svc_kit.readiness import Readiness
from svc_kit.service import Job
from svc_kit.settings import PlatformSettings
from svc_kit.telemetry import configure_logging, log

HTTP_DRAIN_S = 8
Drain = Callable[[], Awaitable[None]]
_log = log(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a process that serves can be reached."""

    http: str
    grpc_port: int
    leave: Drain
    """Tell balancers and peers that it is about to stop; it goes on serving."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own, and an order to stop in."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def roles_of(names: set[str]) -> set[str]:
    """The roles meant by names; `all` means every one. Raises ValueError naming an unknown one and the valid ones."""
    if unknown := names - ALL - {"all"}:
        raise ValueError(f"unknown role {', '.join(sorted(unknown))}; valid: all, {', '.join(sorted(ALL))}")
    return set(ALL) if "all" in names else names


def listen(host: str, port: int) -> socket.socket:
    """A bound TCP socket, so that the port is known before anything is built; raises OSError naming address and
    cause."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(f"can't listen on {host}:{port}: {error.strerror}") from None
    return sock


def jobs_of(node: Node, roles: set[str]) -> list[Job]:
    """The jobs that run in this process: all with the role `workers`, else those that fill a served service's
    memory."""
    jobs = [(name, job) for name, service in node.services.items() for job in service.workers]
    return [job for name, job in jobs if (name in roles if job.local else "workers" in roles)]


@asynccontextmanager
async def serving(
    settings: PlatformSettings, names: set[str], host: str, http_port: int, grpc_port: int
) -> AsyncIterator[Address]:
    """Serve roles beside the block. `all` migrates first; the end drains HTTP, then gRPC, then the workers. Raises
    `EngineUnusable` within seconds, naming the setting, when an engine can't be used."""
    roles = roles_of(names)
    async with AsyncExitStack() as stack:
        if roles == ALL:
            stack.enter_context(DirectoryLock(settings.data_dir))
        settings = settings.with_kept_secrets()
        sock = listen(host, http_port)
        stack.callback(sock.close)
        http = f"http://{host}:{sock.getsockname()[1]}"
        if not settings.public_url:
            settings = settings.model_copy(update={"public_url": http})
        if roles == ALL:
            await migrate_all(settings)
            await migrate_engines(settings, roles)
        await require_engines(settings, roles)
        node = await stack.enter_async_context(open_node(settings, roles))
        await stack.enter_async_context(supervised(jobs_of(node, roles), node.platform.clock))
        bound = await serve_tcp(node, f"{host}:{grpc_port}", stack) if node.servicers else 0
        readiness = Readiness(node.checks(), node.platform.clock)
        app, drain = await _app(node, roles, readiness, stack)
        await stack.enter_async_context(_http(app, sock))
        stack.push_async_callback(drain)

        async def leave() -> None:
            readiness.leave()
            await node.leave()

        yield Address(http, bound, leave)


async def _app(node: Node, roles: set[str], readiness: Readiness, stack: AsyncExitStack) -> tuple[Starlette, Drain]:
    routes: list[BaseRoute] = []
    middleware: Sequence[Middleware] = [Middleware(RequestIds)]
    drain: Drain = _nothing_to_drain
    if "media" in roles:
        routes += node.services["media"].http_routes
    if "gateway" in roles:
        from gateway.app import build_gateway

        gateway = await build_gateway(
            node.platform, node.verifier, stack, demo_logins=lambda: demo_logins(node.platform), readiness=readiness
        )
        routes += gateway.routes
        middleware, drain = gateway.middleware, gateway.drain
    else:
        routes += _health_routes(readiness)
    app = Starlette(routes=routes, middleware=list(middleware))
    # The address of such a redirect is taken from the Host header.
    app.router.redirect_slashes = False
    return app, drain


def _health_routes(readiness: Readiness) -> list[BaseRoute]:
    """What every process answers over HTTP; a gateway has its own."""

    async def ready(_request: Request) -> Response:
        return await readiness.answer()

    return [
        Route("/healthz", lambda _request: JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})),
        Route("/readyz", ready),
        Route("/metrics", lambda _request: Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)),
    ]


async def _nothing_to_drain() -> None:
    return None


@asynccontextmanager
async def _http(app: Starlette, sock: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=HTTP_DRAIN_S,
        http=BoundedHead,
        timeout_keep_alive=30,
        # The gateway reads X-Forwarded-For itself, from the proxies that its settings trust.
        proxy_headers=False,
        ws_max_size=1024 * 1024,
        ws_max_queue=32,
        ws="websockets-sansio",
        server_header=False,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]), name="http")
    listening = asyncio.create_task(server.listening.wait())
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        listening.cancel()
        raise OSError("the HTTP server stopped while starting")
    try:
        yield
    finally:
        server.should_exit = True
        await task


async def serve_until_signal(
    settings: PlatformSettings, names: set[str], host: str, http_port: int, grpc_port: int
) -> None:
    """Serve roles, print `ready <url>` when they answer, and stop cleanly on SIGINT or SIGTERM."""
    configure_logging(settings.log_level, as_json=not sys.stderr.isatty())
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serving(settings, names, host, http_port, grpc_port) as address:
        print(f"ready {address.http}/graphql", flush=True)
        _log.info("ready", http=address.http, grpc_port=address.grpc_port, roles=sorted(roles_of(names)))
        await stopped.wait()
        _log.info("stopping", notice_s=settings.drain_notice_s)
        await address.leave()
        if settings.drain_notice_s:
            stopped.clear()
            # A second signal: at once.
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), settings.drain_notice_s)
