"""A graphql-transport-ws client for tests: messages in, messages out, nothing hidden."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PATIENCE_S = 10.0


class TestSocket:
    """One open socket."""

    __test__ = False

    def __init__(self, connection: ClientConnection) -> None:
        self.raw = connection

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        await self.raw.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next message."""
        async with asyncio.timeout(PATIENCE_S):
            found: dict[str, Any] = json.loads(await self.raw.recv())
        return found

    async def init(self, token: str = "") -> None:
        """Initialise, and await the acknowledgement."""
        payload = {"authorization": f"Bearer {token}"} if token else {}
        await self.send({"type": "connection_init", "payload": payload})
        assert await self.receive() == {"type": "connection_ack"}

    async def subscribe(self, query: str, variables: dict[str, Any] | None = None, id: str = "1") -> None:
        """Begin an operation."""
        await self.send({"id": id, "type": "subscribe", "payload": {"query": query, "variables": variables or {}}})

    async def next(self, id: str = "1") -> dict[str, Any]:
        """The payload of the next message, which must be a `next` of this operation."""
        message = await self.receive()
        assert (message["type"], message["id"]) == ("next", id), message
        payload: dict[str, Any] = message["payload"]
        return payload

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait until the server has closed; code and reason."""
        try:
            while True:
                async with asyncio.timeout(PATIENCE_S):
                    await self.raw.recv()
        except ConnectionClosed:
            return self.raw.close_code, self.raw.close_reason


@asynccontextmanager
async def socket_to(
    url: str, *, protocol: str = "graphql-transport-ws", headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[TestSocket]:
    """A socket to the gateway at `url`."""
    address = url.replace("http://", "ws://") + "/graphql"
    async with connect(
        address,
        subprotocols=[protocol],  # type: ignore[list-item]
        additional_headers=headers,
        proxy=None,
        open_timeout=PATIENCE_S,
        close_timeout=2,
        **options,
    ) as connection:
        yield TestSocket(connection)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other tasks bring about, and that tells nobody."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)
