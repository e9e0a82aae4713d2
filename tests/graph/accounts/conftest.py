"""AccountService on a real gRPC server, with tokens verified by its own published keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graph_svc.build import build
from graph_svc.schema import metadata
from graph_svc.settings import GraphSettings
from reelgraph.graph.v1 import accounts_pb2 as pb
from reelgraph.graph.v1.accounts_pb2_grpc import AccountServiceStub
from svc_kit.auth import Authenticator, TokenVerifier
from svc_kit.caller import Caller
from svc_kit.rpc.client import AS_SERVICE
from tests.support.clock import FakeClock
from tests.support.databases import DATABASES, common_url
from tests.support.platform import SERVICE_TOKEN, BenchPlatform, create_tables, serve, test_platform

PASSWORD = "correct horse battery"
CHEAP = GraphSettings(password_time_cost=1, password_memory_kib=8, password_parallelism=1)


@dataclass(frozen=True, slots=True)
class World:
    """A running AccountService and its client."""

    platform: BenchPlatform
    clock: FakeClock
    stub: Any
    authenticator: Authenticator
    verifier: TokenVerifier

    async def call(self, method: str, request: Any, caller: Caller = AS_SERVICE, key: str = "") -> Any:
        """Call a method of AccountService."""
        if key:
            request.idempotency_key = key
        return await self.platform.peer.call(getattr(self.stub, method), request, caller)

    async def sign_up(self, username: str = "anna", **fields: str) -> pb.Credentials:
        """A new account's first session."""
        request = pb.SignUpRequest(**{"username": username, "password": PASSWORD, **fields})
        credentials: pb.Credentials = (await self.call("SignUp", request)).credentials
        return credentials

    async def log_in(self, username: str = "anna", password: str = PASSWORD, **fields: str) -> pb.Credentials:
        """A further session."""
        request = pb.LogInRequest(username=username, password=password, **fields)
        credentials: pb.Credentials = (await self.call("LogIn", request)).credentials
        return credentials

    async def refresh(self, refresh_token: str, key: str = "") -> pb.Credentials:
        """The next pair."""
        request = pb.RefreshSessionRequest(refresh_token=refresh_token)
        credentials: pb.Credentials = (await self.call("RefreshSession", request, Caller(), key)).credentials
        return credentials

    async def is_active(self, session_id: int) -> bool:
        """Whether truth says that a session is active."""
        request = pb.BatchGetSessionStatesRequest(session_ids=[session_id])
        return list((await self.call("BatchGetSessionStates", request)).active_session_ids) == [session_id]


def viewer(credentials: pb.Credentials) -> Caller:
    """The caller that holds these credentials."""
    return Caller(credentials.account.id, credentials.session.id, token=credentials.access_token)


@asynccontextmanager
async def open_world(folder: Path, *, day: int = 0, db_url: str = "", **settings: Any) -> AsyncIterator[World]:
    """AccountService with `settings` other than the usual, `day` days after the first one on the same `folder`.
    `db_url`: the platform's database, SQLite unless given."""
    clock = FakeClock()
    clock.advance(day * 24 * 3600)
    async with test_platform(folder, clock=clock, db_url=db_url) as platform, AsyncExitStack() as stack:
        await create_tables(platform, "graph", metadata)
        service = await build(platform, stack, CHEAP.model_copy(update=settings))
        stub = AccountServiceStub(platform.channels.graph)

        async def jwks() -> str:
            answer = await platform.peer.call(stub.ListSigningKeys, pb.ListSigningKeysRequest(), Caller())
            text: str = answer.jwks_json
            return text

        verifier = TokenVerifier(jwks, clock)
        authenticator = Authenticator(verifier, SERVICE_TOKEN)
        async with serve(service, authenticator, platform.sockets):
            yield World(platform, clock, stub, authenticator, verifier)


@pytest.fixture(params=DATABASES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    db_url = await common_url(request.param, tmp_path, "graph", metadata)
    async with open_world(tmp_path, db_url=db_url) as opened:
        yield opened
