"""graphql-transport-ws: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md, with server pings.

A socket belongs to its session. After `connection_init` the gateway acts for its viewer, so that the access token's
expiry ends nothing; the session's revocation closes it with 4403.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
from graphql import OperationType
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.answers import Answer, encode
from gateway.connections import TooMany
from gateway.context import Context
from gateway.execution import Prepared, Refused
from gateway.http.calls import BadRequest, call_of
from gateway.http.event_stream import Streaming
from svc_kit.caller import ANONYMOUS, Caller
from svc_kit.errors import AppError, Reason, internal
from svc_kit.telemetry import log

PROTOCOL = "graphql-transport-ws"
NORMAL, GOING_AWAY, TRY_AGAIN = 1000, 1001, 1013
BAD_MESSAGE, UNAUTHORIZED, FORBIDDEN = 4400, 4401, 4403
BAD_PROTOCOL, INIT_TIMEOUT, DUPLICATE_ID, SECOND_INIT = 4406, 4408, 4409, 4429
MAX_REASON_BYTES = 120
MAX_ID_CHARS = 128
CLOSE_TIMEOUT_S = 2.0
_log = log(__name__)


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Of one socket."""

    operations: int
    queue_messages: int
    init_timeout_s: float
    ping_interval_s: float


class _Closed(Exception):
    """The socket is to be closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Socket:
    """One connection: a reader, a writer behind a bounded queue, a pinger, and a task an operation. `admit` raises
    RATE_LIMITED for a logged-out client that asks too often."""

    def __init__(
        self,
        websocket: WebSocket,
        streaming: Streaming,
        new_context: Callable[[WebSocket, Caller], Context],
        admit: Callable[[WebSocket], None],
        limits: SocketLimits,
    ) -> None:
        self._ws = websocket
        self._streaming = streaming
        self._new_context = new_context
        self._admit = admit
        self._limits = limits
        self._out: asyncio.Queue[bytes] = asyncio.Queue(limits.queue_messages)
        self._end: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._stack = ExitStack()
        self._initialised = self._acknowledged = False
        self._caller = ANONYMOUS
        self._pongs_missing = 0

    async def serve(self) -> None:
        """Speak the protocol until either side ends it."""
        if PROTOCOL not in self._ws.scope.get("subprotocols", ()):
            await self._ws.accept()
            await self._ws.close(BAD_PROTOCOL, "Subprotocol not acceptable")
            return
        await self._ws.accept(PROTOCOL)
        with self._stack:
            try:
                address = self._new_context(self._ws, ANONYMOUS).client_address
                leave = self._streaming.connections.entered(
                    "websocket", address, lambda: self.end(GOING_AWAY, "Going away")
                )
                self._stack.enter_context(leave)
            except TooMany:
                await self._ws.close(TRY_AGAIN, "Too many connections")
                return
            await self._run()

    async def _run(self) -> None:
        work: tuple[Coroutine[Any, Any, None], ...] = (self._read(), self._write(), self._expect_init(), self._ping())
        tasks = [asyncio.create_task(part) for part in work]
        try:
            await self._end
        finally:
            for task in (*tasks, *self._operations.values()):
                task.cancel()
            await asyncio.gather(*tasks, *self._operations.values(), return_exceptions=True)
        code, reason = self._end.result()
        # The peer may be gone, or so slow that even this does not reach it.
        with suppress(RuntimeError, WebSocketDisconnect, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._ws.close(code, reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore"))

    def end(self, code: int, reason: str) -> None:
        """Close the socket; the first reason stands."""
        if not self._end.done():
            self._end.set_result((code, reason))

    def _send(self, message: dict[str, Any]) -> None:
        self._put(encode(message))

    def _put(self, message: bytes) -> None:
        try:
            self._out.put_nowait(message)
        except asyncio.QueueFull:
            self.end(TRY_AGAIN, "Too slow: come back and go on after the last event")

    async def _write(self) -> None:
        try:
            while True:
                await self._ws.send_text((await self._out.get()).decode())
        except (WebSocketDisconnect, RuntimeError, OSError):
            self.end(NORMAL, "")

    async def _read(self) -> None:
        try:
            while True:
                try:
                    message = orjson.loads(await self._ws.receive_text())
                except (orjson.JSONDecodeError, KeyError):
                    raise _Closed(BAD_MESSAGE, "Messages must be JSON text") from None
                if not isinstance(message, dict):
                    raise _Closed(BAD_MESSAGE, "Messages must be objects")
                await self._receive(message)
        except _Closed as closed:
            self.end(closed.code, closed.reason)
        except (WebSocketDisconnect, RuntimeError):
            self.end(NORMAL, "")
        except Exception as error:
            _log.error("a socket failed", exc_info=error)
            self.end(1011, "Internal error")

    async def _receive(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "connection_init":
                await self._init(message.get("payload"))
            case "ping":
                self._send({"type": "pong"})
            case "pong":
                self._pongs_missing = 0
            case "subscribe":
                self._subscribe(message.get("id"), message.get("payload"))
            case "complete":
                operation = self._operations.pop(str(message.get("id")), None)
                if operation is not None:
                    operation.cancel()
            case kind:
                raise _Closed(BAD_MESSAGE, f"Unknown message type {str(kind)[:50]}")

    async def _init(self, payload: object) -> None:
        if self._initialised:
            raise _Closed(SECOND_INIT, "Too many initialisation requests")
        self._initialised = True
        if payload is not None and not isinstance(payload, dict):
            raise _Closed(BAD_MESSAGE, "The payload must be an object")
        try:
            caller = await self._streaming.sessions.authenticate(self._authorization(payload or {}))
        except AppError as error:
            if error.reason is Reason.UNAUTHENTICATED:
                raise _Closed(FORBIDDEN, error.message) from None
            raise _Closed(TRY_AGAIN, error.message) from None
        # Without its token: the gateway acts for the viewer as long as the session stands.
        self._caller = replace(caller, token="")
        ended = self._streaming.sessions.bound(caller, lambda: self.end(FORBIDDEN, "The session has been revoked"))
        self._stack.enter_context(ended)
        self._acknowledged = True
        self._send({"type": "connection_ack"})

    def _authorization(self, payload: dict[str, Any]) -> str:
        given = next((value for name, value in payload.items() if name.lower() == "authorization"), None)
        if given is None:
            return self._ws.headers.get("authorization", "")
        if not isinstance(given, str):
            raise _Closed(FORBIDDEN, "authorization must be `Bearer <access token>`")
        return given

    async def _expect_init(self) -> None:
        await self._streaming.clock.sleep(self._limits.init_timeout_s)
        if not self._initialised:
            self.end(INIT_TIMEOUT, "Connection initialisation timeout")

    async def _ping(self) -> None:
        while True:
            await self._streaming.clock.sleep(self._limits.ping_interval_s)
            if self._pongs_missing >= 2:
                self.end(TRY_AGAIN, "No pong")
                return
            if self._acknowledged:
                self._pongs_missing += 1
                self._send({"type": "ping"})

    def _subscribe(self, number: object, payload: object) -> None:
        if not self._acknowledged:
            raise _Closed(UNAUTHORIZED, "Unauthorized")
        if not isinstance(number, str) or not number or not isinstance(payload, dict):
            raise _Closed(BAD_MESSAGE, "subscribe needs an id and a payload")
        if len(number) > MAX_ID_CHARS:
            # It is repeated in each answer that waits for a slow reader.
            raise _Closed(BAD_MESSAGE, f"id must have at most {MAX_ID_CHARS} characters; it has {len(number)}")
        if number in self._operations:
            raise _Closed(DUPLICATE_ID, f"Subscriber for {number[:50]} already exists")
        try:
            call = call_of(payload)
        except BadRequest as error:
            raise _Closed(BAD_MESSAGE, error.message) from None
        try:
            if len(self._operations) >= self._limits.operations:
                raise AppError(Reason.RATE_LIMITED, f"A socket runs at most {self._limits.operations} operations.")
            if not self._caller.user_id:
                self._admit(self._ws)
            prepared = self._streaming.executor.prepare(call)
        except Refused as refused:
            self._fail(number, refused.answer)
        except AppError as error:
            self._fail(number, self._streaming.executor.errors.refusal(error))
        else:
            self._operations[number] = asyncio.create_task(self._operate(number, prepared))

    def _fail(self, number: str, answer: Answer) -> None:
        self._send({"id": number, "type": "error", "payload": answer.errors})

    async def _operate(self, number: str, prepared: Prepared) -> None:
        caller = ANONYMOUS if prepared.operation.ignores_token else self._caller
        context = self._new_context(self._ws, caller)
        try:
            await self._answer(number, prepared, context)
        except Exception as error:
            _log.error("an operation failed", exc_info=error)
            self._finish(number)
            self._fail(number, self._streaming.executor.errors.refusal(internal()))

    async def _answer(self, number: str, prepared: Prepared, context: Context) -> None:
        streamed = prepared.operation.type is OperationType.SUBSCRIPTION
        async with aclosing(self._streaming.shared.events(prepared, context)) as answers:
            async for answer in answers:
                if answer.refused and (streamed or answer.data is None):
                    self._finish(number)
                    self._fail(number, answer)
                    return
                self._put(b'{"type":"next","id":' + encode(number) + b',"payload":' + answer.encoded + b"}")
        self._finish(number)
        self._send({"id": number, "type": "complete"})

    def _finish(self, number: str) -> None:
        # Before the last message, so that the client may use the id again at once.
        if self._operations.get(number) is asyncio.current_task():
            del self._operations[number]
