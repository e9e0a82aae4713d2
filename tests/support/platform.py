"""A platform for one test: real SQLite files, the memory bus, fakeredis, real gRPC servers on Unix sockets.

async with test_platform(tmp_path) as platform:
    await create_tables(platform, "graph", metadata)
    async with AsyncExitStack() as stack:
        service = await build(platform, stack)
        async with platform.serve(service) as channel, running(service):
            stub = FollowServiceStub(channel)
            await platform.peer.call(stub.FollowUser, FollowUserRequest(user_id=2), platform.tokens.viewer(1))
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from joserfc.jwk import OKPKey
from pydantic import SecretStr
from sqlalchemy import MetaData, column, select, table

from reelgraph.events.v1.event_pb2 import Event
from svc_kit.auth import AUDIENCE, ISSUER, Authenticator, TokenVerifier, sign
from svc_kit.bus.schemes import open_bus
from svc_kit.cache import open_cache
from svc_kit.caller import Caller, Role
from svc_kit.clock import Clock
from svc_kit.db import connect, prepare
from svc_kit.ending import cancel_all
from svc_kit.ids import IdGenerator
from svc_kit.rpc.client import Peer, open_channel
from svc_kit.rpc.server import RpcServer
from svc_kit.service import Channels, Platform, Service
from svc_kit.settings import PlatformSettings
from tests.support.clock import FakeClock

SERVICE_TOKEN = "test-service-token-0123456789abcdef"
SECRET = "test-secret-0123456789abcdef-0123456789abcdef"
KEY_ID = "test-key"


class Tokens:
    """Makes access tokens as graph_svc would, with a key of its own, and verifies them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = OKPKey.generate_key("Ed25519", {"kid": KEY_ID, "use": "sig"})
        self.verifier = TokenVerifier(self._jwks, clock)
        self.authenticator = Authenticator(self.verifier, SERVICE_TOKEN)

    async def _jwks(self) -> str:
        return json.dumps({"keys": [self._key.as_dict(private=False)]})

    def issue(self, user_id: int, session_id: int = 1, role: Role = Role.USER, lifetime_s: int = 600) -> str:
        """An access token; a negative lifetime makes an expired one."""
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "role": role.value,
            "iat": now,
            "exp": now + lifetime_s,
            "jti": f"{user_id}-{session_id}-{now}",
        }
        return sign(claims, self._key)

    def viewer(self, user_id: int, session_id: int = 1, role: Role = Role.USER) -> Caller:
        """A logged-in caller, for `Peer.call`."""
        return Caller(user_id, session_id, role, token=self.issue(user_id, session_id, role))

    def moderator(self, user_id: int) -> Caller:
        """A moderator, for `Peer.call`."""
        return self.viewer(user_id, role=Role.MODERATOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlatform(Platform):
    """A platform that makes tokens too. `channels.graph` reaches what `serve` serves as `graph`."""

    sockets: Path
    tokens: Tokens

    def serve(self, service: Service) -> AbstractAsyncContextManager[grpc.aio.Channel]:
        """Serve `service` where the platform's own channels look for it."""
        return serve(service, self.tokens.authenticator, self.sockets)


@asynccontextmanager
async def test_platform(
    folder: Path, *, clock: Clock | None = None, channels: Channels | None = None, **engines: str
) -> AsyncIterator[BenchPlatform]:
    """A platform whose files lie in `folder`. `clock`: a `FakeClock` unless given. `engines`: URL settings by name, as
    `graph_url`."""
    clock = clock or FakeClock()
    settings = PlatformSettings(
        data_dir=folder,
        public_url="http://media.test",
        secret=SecretStr(SECRET),
        service_token=SecretStr(SERVICE_TOKEN),
        **{"bus_url": "memory://", **engines},  # type: ignore[arg-type]
    )
    async with AsyncExitStack() as stack:
        # A Unix socket's path is at most 107 bytes, and a test's folder may lie deep.
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rg-")))
        bus = await open_bus(settings.bus_url, clock)
        stack.push_async_callback(bus.close)
        cache = await open_cache(settings.cache_url)
        stack.push_async_callback(cache.aclose)
        if channels is None:
            names = ("graph", "media", "rank", "feed")
            opened = [await stack.enter_async_context(open_channel(f"unix:{sockets / n}.sock")) for n in names]
            channels = Channels(*opened)
        yield BenchPlatform(
            *(settings, clock, IdGenerator(clock), bus, cache, Peer(SERVICE_TOKEN), channels),
            sockets=sockets,
            tokens=Tokens(clock),
        )


# A context manager, not a test, whatever module imports it.
test_platform.__dict__["__test__"] = False


@asynccontextmanager
async def serve(
    service: Service, authenticator: Authenticator, folder: Path | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """Serve a service on a real gRPC server at `folder/<name>.sock`; yields a channel to it."""
    with tempfile.TemporaryDirectory(prefix="rg-") as own:
        address = f"unix:{(folder or Path(own)) / service.name}.sock"
        server = RpcServer(service.servicers, authenticator)
        await server.start(address)
        try:
            async with open_channel(address) as channel:
                yield channel
        finally:
            await server.stop(grace_s=0)


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    """Run the workers of a service; one that raises fails the test."""
    tasks = [asyncio.ensure_future(job.run()) for job in service.workers]
    try:
        yield
    finally:
        failed = [task for task in tasks if task.done()]
        await cancel_all(tasks)
        assert failed == []


async def create_tables(platform: Platform, service: str, metadata: MetaData) -> None:
    """Create the tables of `service` (`graph`, `media`, `rank`, `feed`) in its database."""
    url = platform.settings.service_db_url(service)
    await prepare(url)
    db = connect(url)
    try:
        async with db.write() as connection:
            await connection.run_sync(metadata.create_all)
    finally:
        await db.close()


async def emitted(platform: Platform, service: str) -> list[Event]:
    """What the commands of `service` put into its outbox, in order."""
    db = connect(platform.settings.service_db_url(service))
    try:
        async with db.read() as connection:
            rows: Any = await connection.execute(
                select(column("payload")).select_from(table("outbox")).order_by(column("seq"))
            )
            return [Event.FromString(payload) for (payload,) in rows]
    finally:
        await db.close()


__all__ = [
    *("AS_SERVICE", "SECRET", "SERVICE_TOKEN", "BenchPlatform", "FakeClock", "Tokens"),
    *("create_tables", "emitted", "running", "serve", "test_platform"),
]
