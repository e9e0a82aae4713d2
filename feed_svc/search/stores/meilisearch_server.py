"""One Meilisearch over HTTP: calls on a few threads, tasks awaited, and what their errors mean."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import anyio.to_thread
from anyio import CapacityLimiter
from meilisearch import Client
from meilisearch.errors import MeilisearchApiError, MeilisearchError

from svc_kit.backends import EngineUnusable
from svc_kit.errors import unavailable

THREADS = 8
MOST_WAITING = 64
_FIRST_POLL_S, _LAST_POLL_S = 0.002, 0.1
_BUSY = (408, 429)


@dataclass(frozen=True, slots=True)
class MeiliUrl:
    """The address, and the options of its query."""

    http: str
    key: str
    index_prefix: str = "reelgraph_"
    timeout_ms: int = 3000
    """Of one request."""
    task_timeout_ms: int = 30_000
    """Of the work that a write gives the server."""


def parse(url: str) -> MeiliUrl:
    """Read a `meilisearch://` URL. Raises EngineUnusable naming what is wrong with it."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise EngineUnusable("the URL must be meilisearch://:KEY@host:port")
    secure = parts.scheme.endswith("+https")
    shown = f"[{host}]" if ":" in host else host
    address = f"{'https' if secure else 'http'}://{shown}:{port or (443 if secure else 7700)}{parts.path.rstrip('/')}"
    values: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "index_prefix":
            if not re.fullmatch(r"[A-Za-z0-9_-]{0,100}", value):
                raise EngineUnusable("index_prefix may have letters, digits, `_` and `-`, at most 100")
            values[name] = value
        elif name in ("timeout_ms", "task_timeout_ms"):
            if not value.isdigit() or int(value) < 1:
                raise EngineUnusable(f"{name}={value[:20]}: must be a whole number from 1")
            values[name] = int(value)
        else:
            raise EngineUnusable(f"unknown option {name[:40]}")
    return MeiliUrl(address, unquote(parts.password or ""), **values)


class Refused(Exception):
    """The server does not do what was asked; `code` is its error code."""

    def __init__(self, code: str, message: str, status: int = 0) -> None:
        super().__init__(f"{code}: {message}"[:300])
        self.code = code
        self.status = status


class MeiliServer:
    """The connection. Calls raise UNAVAILABLE when the server is out of reach, too busy or too slow, else Refused."""

    def __init__(self, options: MeiliUrl) -> None:
        self.options = options
        self._limiter = CapacityLimiter(THREADS)
        self._waiting = 0
        # The client's headers change with each request: a thread has its own.
        self._local = threading.local()

    async def get(self, path: str) -> Any:
        return await self._call("get", path)

    async def post(self, path: str, body: object) -> Any:
        return await self._call("post", path, body)

    async def patch(self, path: str, body: object) -> Any:
        return await self._call("patch", path, body)

    async def delete(self, path: str) -> Any:
        return await self._call("delete", path)

    async def _call(self, method: str, path: str, *body: object) -> Any:
        if self._waiting >= MOST_WAITING:
            raise unavailable("Too many calls wait for the search server.")
        self._waiting += 1
        try:
            return await anyio.to_thread.run_sync(self._send, method, path, body, limiter=self._limiter)
        except MeilisearchApiError as error:
            if error.status_code >= 500 or error.status_code in _BUSY:
                raise unavailable("The search server can't answer now.") from error
            raise Refused(error.code or "", error.message, error.status_code) from error
        except (MeilisearchError, OSError, ValueError) as error:
            raise unavailable("The search server can't be reached.") from error
        finally:
            self._waiting -= 1

    def _send(self, method: str, path: str, body: Sequence[object]) -> Any:
        client = getattr(self._local, "client", None)
        if client is None:
            # Fractions of a second are as good to what sends the request.
            seconds: Any = self.options.timeout_ms / 1000
            client = self._local.client = Client(self.options.http, self.options.key or None, timeout=seconds)
        return getattr(client.http, method)(path, *body)

    # ---- Tasks --------------------------------------------------------------------------------------------------

    async def done(self, *tasks: Mapping[str, Any], within_s: float = 0.0) -> None:
        """Wait until the server has done what it was given. Raises Refused when it failed."""
        try:
            async with asyncio.timeout(within_s or self.options.task_timeout_ms / 1000):
                for task in tasks:
                    await self._done(int(task["taskUid"]))
        except TimeoutError:
            raise unavailable("The search server is behind with its work.", retry_after_ms=5000) from None

    async def _done(self, number: int) -> None:
        pause_s = _FIRST_POLL_S
        while True:
            task = await self.get(f"tasks/{number}")
            if task["status"] == "succeeded":
                return
            if task["status"] in ("failed", "canceled"):
                error = task.get("error") or {}
                raise Refused(str(error.get("code") or task["status"]), str(error.get("message") or ""))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_POLL_S)

    async def quiet(self, index: str) -> None:
        """Wait for what was given to the server for an index by whoever could not wait for it."""
        left = await self.get(f"tasks?indexUids={index}&statuses=enqueued,processing&limit=100")
        for task in left["results"]:
            with suppress(Refused):  # Whoever gave it is told.
                await self.done({"taskUid": task["uid"]})

    async def version(self) -> tuple[int, int]:
        """Major and minor."""
        major, minor, *_ = str((await self.get("version"))["pkgVersion"]).split(".")
        return int(major), int(minor)
