"""What every HTTP request has: an id (the client's or a new one) in its answer, in each log line and in each call, and
one line in the log when it is done."""

from __future__ import annotations

import asyncio
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from svc_kit.telemetry import bind_request_id, log, new_request_id

REQUEST_ID_HEADER = "x-request-id"
_SANE_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_STOPPING = JSONResponse({"code": "UNAVAILABLE"}, 503, {"Retry-After": "1", "Connection": "close"})
_log = log(__name__)


def request_id_of(headers: Headers) -> str:
    """The client's request id when it is sane, else a new one."""
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _SANE_ID.fullmatch(given) else new_request_id()


class RequestIds:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bind the id for this request's context, and log the request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope))
        bind_request_id(request_id)
        started, status = time.monotonic(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.accept"):
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
                status = message.get("status", 101)
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            # Only a server that stops cancels requests, after its grace; it would call this an error of the app.
            if scope["type"] == "http" and not status:
                await _STOPPING(scope, receive, send_with_id)
        finally:
            if scope["path"] not in _QUIET:
                ms = round((time.monotonic() - started) * 1000, 1)
                _log.info("http", method=scope.get("method", "WEBSOCKET"), path=_path(scope), status=status, ms=ms)


def _path(scope: Scope) -> str:
    """Without the token of a signed URL: who reads logs may not use it."""
    path: str = scope["path"]
    token = scope.get("path_params", {}).get("token")
    return path.replace(token, "...") if token else path
