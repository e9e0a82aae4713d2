"""graphql-sse, distinct connections: one operation a stream, `next` events, then `complete`.

The stream is read as fast as the client takes it: a slow client slows its own upstream call and nothing is queued here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.answers import Answer
from gateway.connections import Connections, TooMany
from gateway.context import Context
from gateway.execution import Executor, Prepared
from gateway.http.accept import EVENT_STREAM
from gateway.sessions import Sessions
from gateway.subscriptions.sharing import SharedAnswers
from svc_kit.clock import Clock
from svc_kit.errors import unauthenticated

COMPLETE = b"event: complete\ndata: \n\n"
HEARTBEAT = b":\n\n"


def next_event(answer: Answer) -> bytes:
    """A `next` event."""
    return b"event: next\ndata: " + answer.encoded + b"\n\n"


@dataclass(frozen=True, slots=True)
class Streaming:
    """What event streams are made with."""

    executor: Executor
    shared: SharedAnswers
    sessions: Sessions
    connections: Connections
    clock: Clock
    heartbeat_s: float


class EventStream(Response):
    """The stream of an operation's answers.

    It ends with `complete` when the operation does; when the session is revoked, after a last answer UNAUTHENTICATED;
    without `complete` when the process stops, so that the client comes back.
    """

    media_type = EVENT_STREAM

    def __init__(self, streaming: Streaming, prepared: Prepared, context: Context) -> None:
        super().__init__(headers={"Cache-Control": "private, no-store, no-transform", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._streaming = streaming
        self._prepared = prepared
        self._context = context
        self._revoked = asyncio.Event()
        self._leaving = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the operation, the session, the client or the process ends."""
        try:
            with (
                self._streaming.connections.entered("sse", self._context.client_address, self._leaving.set),
                self._streaming.sessions.bound(self._context.caller, self._revoked.set),
            ):
                await self._send(receive, send)
        except TooMany:
            busy = PlainTextResponse("Too many connections are open.", 503, {"Retry-After": "5"})
            await busy(scope, receive, send)

    async def _send(self, receive: Receive, send: Send) -> None:
        waits = (self._revoked.wait(), self._leaving.wait(), _disconnected(receive))
        ends: list[asyncio.Task[Any]] = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with (
                aclosing(self._streaming.shared.events(self._prepared, self._context)) as answers,
                aclosing(self._chunks(answers, ends)) as chunks,
            ):
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if not ends[-1].done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await _cancel(*ends)

    async def _chunks(
        self, answers: AsyncGenerator[Answer, None], ends: list[asyncio.Task[Any]]
    ) -> AsyncGenerator[bytes, None]:
        # At once, so that proxies and clients know that the stream stands.
        yield HEARTBEAT
        coming = asyncio.ensure_future(_next(answers))
        beat = asyncio.ensure_future(self._streaming.clock.sleep(self._streaming.heartbeat_s))
        try:
            while True:
                await asyncio.wait({coming, beat, *ends}, return_when=asyncio.FIRST_COMPLETED)
                if self._revoked.is_set():
                    error = unauthenticated("The session has been revoked.")
                    yield next_event(self._streaming.executor.errors.refusal(error)) + COMPLETE
                if any(end.done() for end in ends):
                    return
                if coming.done():
                    answer = coming.result()
                    if answer is None:
                        yield COMPLETE
                        return
                    coming = asyncio.ensure_future(_next(answers))
                    yield next_event(answer)
                if beat.done():
                    beat = asyncio.ensure_future(self._streaming.clock.sleep(self._streaming.heartbeat_s))
                    yield HEARTBEAT
        finally:
            await _cancel(coming, beat)


async def _next(answers: AsyncGenerator[Answer, None]) -> Answer | None:
    return await anext(answers, None)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
