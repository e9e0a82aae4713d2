"""The server side: one interceptor for request id, identity, access, field rules, deadline and errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import Histogram

from reelgraph.common.v1.options_pb2 import Access
from svc_kit.auth import Authenticator
from svc_kit.caller import Caller, Role, set_caller
from svc_kit.errors import AppError, Reason, forbidden, internal, unauthenticated
from svc_kit.rpc import rules as method_rules
from svc_kit.rpc.status import DETAILS_KEY, code_of, encode_details
from svc_kit.telemetry import bind_request_id, current_request_id, log, new_request_id

REQUEST_ID_KEY = "x-request-id"
VIEWER_KEY = "x-reelgraph-viewer"
MAX_UNARY_S = 30.0
_OPEN_PREFIXES = ("/grpc.health.v1.", "/grpc.reflection.")

_SECONDS = Histogram("reelgraph_rpc_seconds", "Time to serve an RPC", ["method", "code"])
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
_log = log(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


def remaining_s() -> float | None:
    """Seconds left until the deadline of the call being served; None when there is none."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Calls to peers made in the block end within `seconds` of its beginning, all of them together."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


@dataclass(frozen=True, slots=True)
class Servicer:
    """One gRPC service to serve."""

    descriptor: ServiceDescriptor
    implementation: object | None
    """None: a contract that nothing here answers yet. Reflection shows it, its health is NOT_SERVING, and its methods
    are UNIMPLEMENTED."""
    register: Callable[[Any, grpc.aio.Server], None]
    """`add_<Service>Servicer_to_server` of the generated stubs."""


class Guard(grpc.aio.ServerInterceptor):
    """Proves the caller, checks access and fields, keeps the deadline, maps errors. Wraps unary and server-streaming
    methods."""

    def __init__(self, rules: Mapping[str, method_rules.MethodRules], authenticator: Authenticator) -> None:
        self._rules = rules
        self._authenticator = authenticator

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_OPEN_PREFIXES):
            return handler
        rules = self._rules[method]
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, rules, handler.unary_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._unary(method, rules, handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )

    async def _enter(self, method: str, rules: method_rules.MethodRules, request: Message, context: Context) -> None:
        metadata = {k: v for k, v in context.invocation_metadata() or () if isinstance(v, str)}
        request_id = metadata.get(REQUEST_ID_KEY, "")[:64] or new_request_id()
        bind_request_id(request_id)
        caller = await self._authenticator.authenticate(metadata.get("authorization", ""), metadata.get(VIEWER_KEY, ""))
        _admit(rules.access, caller)
        rules.check(request)
        key = getattr(request, "idempotency_key", "") if rules.has_key else ""
        set_caller(
            replace(
                caller,
                request_id=request_id,
                method=method,
                idempotency_key=key,
                input_digest=method_rules.input_digest(request) if key else b"",
            )
        )

    def _unary(self, method: str, rules: method_rules.MethodRules, inner: Callable[..., Any]) -> Callable[..., Any]:
        async def serve(request: Message, context: Context) -> Any:
            started = time.monotonic()
            budget = min(context.time_remaining() or MAX_UNARY_S, MAX_UNARY_S)
            _deadline.set(started + budget)
            code = "OK"
            try:
                async with asyncio.timeout(budget):
                    await self._enter(method, rules, request, context)
                    return await inner(request, context)
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except Exception as error:
                mapped = _map(error, method)
                code = code_of(mapped).name
                await _abort(context, mapped)
            finally:
                _served(method, code, started)

        return serve

    def _stream(self, method: str, rules: method_rules.MethodRules, inner: Callable[..., Any]) -> Callable[..., Any]:
        async def serve(request: Message, context: Context) -> AsyncIterator[Any]:
            started = time.monotonic()
            code = "OK"
            try:
                await self._enter(method, rules, request, context)
                async for message in inner(request, context):
                    yield message
            except (asyncio.CancelledError, GeneratorExit):
                code = "CANCELLED"
                raise
            except Exception as error:
                mapped = _map(error, method)
                code = code_of(mapped).name
                await _abort(context, mapped)
            finally:
                _served(method, code, started)

        return serve


def _served(method: str, code: str, started: float) -> None:
    """Measure a call and write its line; the request id is in the line by its context."""
    seconds = time.monotonic() - started
    _SECONDS.labels(method, code).observe(seconds)
    _log.info("rpc", method=method, code=code, ms=round(seconds * 1000, 1))


def _admit(access: Access, caller: Caller) -> None:
    if access == Access.ACCESS_PUBLIC:
        return
    if access == Access.ACCESS_SERVICE:
        if not caller.is_service:
            raise (
                forbidden("", "Only a service may call this.")
                if caller.user_id
                else unauthenticated("Only a service may call this.")
            )
        return
    caller.viewer()
    if access == Access.ACCESS_MODERATOR and caller.role is not Role.MODERATOR:
        raise forbidden("", "Only a moderator may do this.")


def _map(error: Exception, method: str) -> AppError:
    if isinstance(error, AppError):
        return error
    if isinstance(error, TimeoutError):
        return AppError(Reason.DEADLINE_EXCEEDED, "It took too long.")
    _log.error("rpc failed", method=method, exc_info=error)
    return internal()


async def _abort(context: Context, error: AppError) -> NoReturn:
    await context.abort(
        code_of(error), error.message, trailing_metadata=((DETAILS_KEY, encode_details(error, current_request_id())),)
    )
    raise AssertionError("abort raises")


class RpcServer:
    """A gRPC server of some servicers, with health and (where allowed) reflection."""

    def __init__(
        self, servicers: Sequence[Servicer], authenticator: Authenticator, *, with_reflection: bool = True
    ) -> None:
        rules = method_rules.load(s.descriptor for s in servicers)
        self._server = grpc.aio.server(
            interceptors=[Guard(rules, authenticator)],
            options=[
                ("grpc.max_receive_message_length", 4 * 1024 * 1024),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=2000,
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        served = [s for s in servicers if s.implementation is not None]
        self._names = [s.descriptor.full_name for s in served]
        self._contracts = [s.descriptor.full_name for s in servicers if s.implementation is None]
        for s in served:
            s.register(s.implementation, self._server)
        if with_reflection:
            names = [*self._names, *self._contracts, health.SERVICE_NAME, reflection.SERVICE_NAME]
            reflection.enable_server_reflection(names, self._server)

    async def start(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on `address` (`unix:/path` or `host:port`, port 0: a free one), with TLS given its credentials, and
        report SERVING; returns the port."""
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError:
            raise OSError(f"can't listen on {address}") from None
        await self._server.start()
        for name in ["", *self._names]:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        for name in self._contracts:
            await self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)
        return port

    async def leave(self) -> None:
        """Report NOT_SERVING and go on serving: whoever asks goes elsewhere with what is new."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Report NOT_SERVING, let running calls end for `grace_s`, then cancel the rest."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
