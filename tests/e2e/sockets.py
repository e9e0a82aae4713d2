"""A client of graphql-transport-ws, over a real WebSocket, and of graphql-sse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

Json = dict[str, Any]


class Socket:
    """One connection; answers pings, keeps operations apart by id."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._queues: dict[str, asyncio.Queue[Json]] = {}
        self._next = 0
        self.pings = 0
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for text in self._connection:
            message = json.loads(text)
            if message["type"] == "ping":
                self.pings += 1
                await self._send({"type": "pong"})
            elif message["type"] in ("next", "error", "complete"):
                self._queues[message["id"]].put_nowait(message)

    async def _send(self, message: Json) -> None:
        await self._connection.send(json.dumps(message))

    async def subscribe(self, query: str, variables: Mapping[str, Any] | None = None) -> Operation:
        """Start an operation."""
        self._next += 1
        key = str(self._next)
        self._queues[key] = asyncio.Queue()
        payload = {"query": query, "variables": variables or {}}
        await self._send({"id": key, "type": "subscribe", "payload": payload})
        return Operation(self._queues[key])

    async def closed(self, timeout_s: float = 10) -> int:
        """Wait for the server to close; the close code."""
        async with asyncio.timeout(timeout_s):
            await self._connection.wait_closed()
        return self._connection.close_code or 0

    async def drop(self) -> None:
        """Cut the connection without a goodbye, as a lost network would."""
        self._reader.cancel()
        self._connection.transport.abort()


class Operation:
    """One running operation of a socket."""

    def __init__(self, queue: asyncio.Queue[Json]) -> None:
        self._queue = queue

    async def next(self, timeout_s: float = 10) -> Json | None:
        """The next `data`; None when the server completed it. Raises on errors and after `timeout_s`."""
        async with asyncio.timeout(timeout_s):
            message = await self._queue.get()
        if message["type"] == "complete":
            return None
        if message["type"] == "error" or message["payload"].get("errors"):
            raise AssertionError(f"subscription failed: {message['payload']}")
        data: Json = message["payload"]["data"]
        return data

    async def nothing(self, for_s: float = 0.5) -> bool:
        """Whether nothing comes for a while."""
        try:
            async with asyncio.timeout(for_s):
                await self._queue.get()
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def open_socket(url: str, token: str = "") -> AsyncIterator[Socket]:
    """Connect and initialise; raises `websockets` errors with the close code when refused."""
    address = url.replace("http", "ws", 1)
    async with connect(address, subprotocols=["graphql-transport-ws"]) as connection:  # type: ignore[list-item]
        payload = {"authorization": f"Bearer {token}"} if token else {}
        await connection.send(json.dumps({"type": "connection_init", "payload": payload}))
        while json.loads(await connection.recv())["type"] != "connection_ack":
            pass
        socket = Socket(connection)
        try:
            yield socket
        finally:
            socket._reader.cancel()


@asynccontextmanager
async def open_events(
    http: httpx.AsyncClient, url: str, token: str, query: str, variables: Mapping[str, Any]
) -> AsyncIterator[AsyncIterator[Json]]:
    """A subscription by graphql-sse, distinct connections: yields the `data` of each `next` event."""
    headers = {"accept": "text/event-stream", "authorization": f"Bearer {token}"}
    async with http.stream("POST", url, json={"query": query, "variables": variables}, headers=headers) as response:
        response.raise_for_status()

        async def events() -> AsyncIterator[Json]:
            event = ""
            async for line in response.aiter_lines():
                if line.startswith("event:"):
                    event = line[6:].strip()
                elif line.startswith("data:") and event == "next":
                    yield json.loads(line[5:])["data"]

        yield events()
