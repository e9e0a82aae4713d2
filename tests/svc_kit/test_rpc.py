"""Calls between services: the line each leaves in the log, the id it carries, and peers that don't answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

import svc_kit.asgi
import svc_kit.rpc.server
from reelgraph.graph.v1 import follows_pb2, follows_pb2_grpc
from reelgraph.media.v1 import live_pb2, live_pb2_grpc
from svc_kit.asgi import RequestIds
from svc_kit.caller import Caller
from svc_kit.errors import AppError, Reason, not_found
from svc_kit.rpc.client import Peer, open_channel
from svc_kit.rpc.server import Servicer
from svc_kit.service import Service
from svc_kit.telemetry import bind_request_id, current_request_id, log
from tests.support.clock import FakeClock
from tests.support.platform import SERVICE_TOKEN, Tokens, serve


class Follows(follows_pb2_grpc.FollowServiceServicer):
    """Answers what it was told, and keeps the request ids it saw."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.error: Exception | None = None

    async def BatchGetRelations(self, request: Any, context: Any) -> follows_pb2.BatchGetRelationsResponse:
        self.seen.append(current_request_id())
        if self.error:
            raise self.error
        return follows_pb2.BatchGetRelationsResponse()


class Bench:
    """One served method and a way to call it."""

    def __init__(self, servicer: Follows, stub: Any, caller: Caller) -> None:
        self.servicer = servicer
        self._stub = stub
        self._caller = caller

    async def call(self) -> None:
        request = follows_pb2.BatchGetRelationsRequest(user_ids=[2])
        await Peer(SERVICE_TOKEN).call(self._stub.BatchGetRelations, request, self._caller)


@pytest.fixture
def fresh_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that logged before keeps the processors of then."""
    for module in (svc_kit.rpc.server, svc_kit.asgi):
        monkeypatch.setattr(module, "_log", log(module.__name__))


@pytest.fixture
async def bench(fresh_logs: None) -> AsyncIterator[Bench]:
    tokens = Tokens(FakeClock())
    servicer = Follows()  # type: ignore[abstract]  # the other methods are not called
    descriptor = follows_pb2.DESCRIPTOR.services_by_name["FollowService"]
    registered = Servicer(descriptor, servicer, follows_pb2_grpc.add_FollowServiceServicer_to_server)
    async with serve(Service("graph", [registered]), tokens.authenticator) as channel:
        yield Bench(servicer, follows_pb2_grpc.FollowServiceStub(channel), tokens.viewer(1))


async def test_the_callers_request_id_arrives_and_every_call_leaves_one_line(bench: Bench) -> None:
    bind_request_id("id-of-the-request")
    with capture_logs() as lines:
        await bench.call()
        bench.servicer.error = not_found("user_ids", "user")
        with pytest.raises(AppError):
            await bench.call()

    assert bench.servicer.seen == ["id-of-the-request"] * 2
    calls = [(line["method"], line["code"], line["log_level"]) for line in lines if line["event"] == "rpc"]
    method = "/reelgraph.graph.v1.FollowService/BatchGetRelations"
    assert calls == [(method, "OK", "info"), (method, "NOT_FOUND", "info")]
    assert all(line["ms"] >= 0 for line in lines)


async def test_a_peer_that_takes_connections_and_never_answers_costs_no_more_than_the_deadline() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    async with server, open_channel(f"{host}:{port}") as channel:
        stub: Any = follows_pb2_grpc.FollowServiceStub(channel)
        request = follows_pb2.BatchGetRelationsRequest(user_ids=[2])
        with pytest.raises(AppError) as late:
            await Peer(SERVICE_TOKEN).call(stub.BatchGetRelations, request, Caller(), timeout_s=0.3)

    assert late.value.reason in (Reason.DEADLINE_EXCEEDED, Reason.UNAVAILABLE)


async def test_a_contract_without_an_implementation_says_so_in_health_and_reflection() -> None:
    descriptor = live_pb2.DESCRIPTOR.services_by_name["LiveService"]
    contract = Servicer(descriptor, None, live_pb2_grpc.add_LiveServiceServicer_to_server)

    async with serve(Service("media", [contract]), Tokens(FakeClock()).authenticator) as channel:
        checks: Any = health_pb2_grpc.HealthStub(channel)
        status = (await checks.Check(health_pb2.HealthCheckRequest(service=descriptor.full_name))).status
        explorer: Any = reflection_pb2_grpc.ServerReflectionStub(cast(Any, channel))
        listing = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        shown = [s.name async for a in explorer.ServerReflectionInfo(listing) for s in a.list_services_response.service]
        live: Any = live_pb2_grpc.LiveServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await live.BatchGetLiveStreams(live_pb2.BatchGetLiveStreamsRequest())

    assert status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert descriptor.full_name in shown
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_peer_that_is_not_there_is_unavailable() -> None:
    async with open_channel("unix:/nonexistent/reelgraph.sock") as channel:
        stub: Any = follows_pb2_grpc.FollowServiceStub(channel)
        with pytest.raises(AppError) as down:
            await Peer(SERVICE_TOKEN).call(stub.BatchGetRelations, follows_pb2.BatchGetRelationsRequest(), Caller())

    assert down.value.reason is Reason.UNAVAILABLE
    assert isinstance(down.value.__cause__, grpc.aio.AioRpcError)


async def test_an_http_request_leaves_one_line_without_the_token_of_its_url(fresh_logs: None) -> None:
    async def answer(_request: Request) -> Response:
        return Response(status_code=204)

    app = Starlette(routes=[Route("/v/{token}/x", answer), Route("/healthz", answer)])
    with capture_logs() as lines:
        transport = httpx.ASGITransport(RequestIds(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://media.test") as client:
            answered = await client.get("/v/secret-token/x", headers={"x-request-id": "mine"})
            await client.get("/healthz")

    assert answered.headers["x-request-id"] == "mine"
    shown = [(line["event"], line["method"], line["path"], line["status"]) for line in lines]
    assert shown == [("http", "GET", "/v/.../x", 204)]


async def test_a_request_that_a_stopping_server_gives_up_is_answered_503(fresh_logs: None) -> None:
    began = asyncio.Event()

    async def hang(_request: Request) -> Response:
        began.set()
        await asyncio.Event().wait()
        return Response()

    transport = httpx.ASGITransport(RequestIds(Starlette(routes=[Route("/x", hang)])))
    async with httpx.AsyncClient(transport=transport, base_url="http://media.test") as client:
        asked = asyncio.create_task(client.get("/x"))
        await began.wait()
        asked.cancel()
        answer = await asked

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
