"""The composition root: engines, services and servers of one process, opened in order and closed in reverse."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from launcher.migrate import SERVICES
from reelgraph.graph.v1.accounts_pb2 import ListSigningKeysRequest
from reelgraph.graph.v1.accounts_pb2_grpc import AccountServiceStub
from svc_kit.auth import Authenticator, TokenVerifier
from svc_kit.backends import resolve
from svc_kit.bus import SCHEMES as BUS_SCHEMES
from svc_kit.bus.port import TOPICS
from svc_kit.cache import cache_errors, open_cache
from svc_kit.caller import ANONYMOUS
from svc_kit.clock import Clock, SystemClock
from svc_kit.ids import IdGenerator
from svc_kit.readiness import Check
from svc_kit.rpc.client import Peer, open_channel, target_of
from svc_kit.rpc.server import RpcServer, Servicer
from svc_kit.rpc.tls import tls_of
from svc_kit.service import Channels, Platform, Service
from svc_kit.settings import Mode, PlatformSettings

ALL = frozenset({"gateway", "workers", *SERVICES})
DRAIN_S = 5.0
# Two processes on two of these would silently disagree.
PROCESS_LOCAL = {"cache_url": "memory", "bus_url": "memory"}


class BadComposition(ValueError):
    """Settings that can't work together; the message names them."""


@dataclass(frozen=True, slots=True)
class Node:
    """What runs in this process."""

    platform: Platform
    verifier: TokenVerifier
    services: Mapping[str, Service]
    servicers: Sequence[Servicer]
    servers: list[RpcServer]
    """All that answer here, on Unix sockets and TCP."""

    async def leave(self) -> None:
        """Tell who asks for health that this process is leaving; everything is still served."""
        for server in self.servers:
            await server.leave()

    def checks(self) -> dict[str, Check]:
        """What this process stands on, by name."""
        found: dict[str, Check] = {"cache": self._cache, "event bus": self._bus}
        for service in self.services.values():
            found |= service.checks
        return found

    async def _cache(self) -> None:
        with cache_errors():
            await self.platform.cache.ping()

    async def _bus(self) -> None:
        await self.platform.bus.ends(TOPICS[:1])


def check_roles(settings: PlatformSettings, roles: set[str]) -> None:
    """Refuse engines whose state lives in one process's memory when other roles run elsewhere."""
    if roles >= ALL:
        return
    for name, scheme in PROCESS_LOCAL.items():
        if getattr(settings, name).startswith(f"{scheme}:"):
            raise BadComposition(
                f"REELGRAPH_{name.upper()}={scheme}:// lives in one process's memory; "
                "roles in several processes need an engine that they share"
            )
    for service in SERVICES:
        if service not in roles:
            _check_address(settings, service)


def _check_address(settings: PlatformSettings, service: str) -> None:
    name, address = f"REELGRAPH_{service.upper()}_ADDRESS", getattr(settings, f"{service}_address")
    if not address:
        raise BadComposition(f"{name} must say where {service} answers")
    try:
        target_of(address)
    except ValueError as error:
        raise BadComposition(f"{name}={error}") from None
    if "," in address and settings.tls_ca_file and not settings.tls_server_name:
        raise BadComposition(
            f"{name}={address}: several addresses have no name that certificates could be for; "
            "REELGRAPH_TLS_SERVER_NAME must say it, or one name for all be the address"
        )


@asynccontextmanager
async def open_platform(
    settings: PlatformSettings, local: set[str], sockets: Path, clock: Clock | None = None
) -> AsyncIterator[tuple[Platform, TokenVerifier]]:
    """Open what all services share. Services in `local` answer on Unix sockets in `sockets`, others at their
    address."""
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        bus_url = settings.embedded_url("bus", "sqlite:///{dir}/bus.db")
        bus = await resolve("REELGRAPH_BUS_URL", bus_url, BUS_SCHEMES).open(bus_url, clock)
        stack.push_async_callback(bus.close)
        cache = await open_cache(settings.cache_url)
        stack.push_async_callback(cache.aclose)
        addresses = {
            name: socket_address(sockets, name) if name in local else getattr(settings, f"{name}_address")
            for name in SERVICES
        }
        tls = tls_of(settings)
        channels = Channels(
            **{name: await stack.enter_async_context(open_channel(at, tls)) for name, at in addresses.items()}
        )
        peer = Peer(settings.service_token.get_secret_value())
        platform = Platform(
            *(settings, clock, IdGenerator(clock), bus, cache, peer, channels),
            leases_ids=shares_databases(settings, local),
        )
        accounts = AccountServiceStub(channels.graph)

        async def fetch_jwks() -> str:
            response = await peer.call(accounts.ListSigningKeys, ListSigningKeysRequest(), ANONYMOUS)
            jwks: str = response.jwks_json
            return jwks

        yield platform, TokenVerifier(fetch_jwks, clock)


def shares_databases(settings: PlatformSettings, local: set[str]) -> bool:
    """Whether other processes may issue ids too: none can where one process holds the data folder for all services."""
    urls = (settings.service_db_url(service) for service in SERVICES)
    return local < set(SERVICES) or not all(url.startswith("sqlite:") for url in urls)


def socket_address(folder: Path, service: str) -> str:
    """The Unix socket of a service in this process."""
    return f"unix:{folder / service}.sock"


@asynccontextmanager
async def open_node(settings: PlatformSettings, roles: set[str]) -> AsyncIterator[Node]:
    """Build and serve the services of `roles` on Unix sockets; their workers are the caller's to run."""
    check_roles(settings, roles)
    # `workers` needs every service's consumers, but not their servers.
    built = set(SERVICES) if "workers" in roles else roles & set(SERVICES)
    async with AsyncExitStack() as stack:
        # A Unix socket's path is at most 107 bytes, and a data folder may lie deep.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reelgraph-")))
        platform, verifier = await stack.enter_async_context(open_platform(settings, roles & set(SERVICES), folder))
        authenticator = Authenticator(verifier, settings.service_token.get_secret_value())
        services: dict[str, Service] = {}
        servers: list[RpcServer] = []
        for name in sorted(built):
            services[name] = await import_module(f"{name}_svc.build").build(platform, stack)
        for name in sorted(roles & set(SERVICES)):
            server = RpcServer(services[name].servicers, authenticator, with_reflection=reflects(settings))
            await server.start(socket_address(folder, name))
            stack.push_async_callback(server.stop, DRAIN_S)
            servers.append(server)
        served = [s for name in SERVICES if name in roles for s in services[name].servicers]
        yield Node(platform, verifier, services, served, servers)


def reflects(settings: PlatformSettings) -> bool:
    """Whether gRPC reflection is offered."""
    return settings.mode is not Mode.PRODUCTION


async def serve_tcp(node: Node, address: str, stack: AsyncExitStack) -> int:
    """Serve every gRPC service of this process on one TCP port as well; returns the port."""
    settings = node.platform.settings
    authenticator = Authenticator(node.verifier, settings.service_token.get_secret_value())
    server = RpcServer(node.servicers, authenticator, with_reflection=reflects(settings))
    port = await server.start(address, tls_of(settings).server_credentials())
    stack.push_async_callback(server.stop, DRAIN_S)
    node.servers.append(server)
    return port
