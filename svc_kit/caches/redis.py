"""A Redis server, or what stands for one: a primary that a proxy or a name points to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from svc_kit.cache import CacheError, Call, Subscription
from svc_kit.caches.address import parse
from svc_kit.caches.checks import inspect_server
from svc_kit.caches.commands import Commands
from svc_kit.caches.node import Node, connect
from svc_kit.clock import Clock


class ServerCache(Commands):
    """`Cache` on one server."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def replies(self, calls: Sequence[Call]) -> list[Any]:
        try:
            return await self._node.execute(calls)
        except CacheError as error:
            return [error] * len(calls)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        subscription = self._node.subscription(sharded=False)
        try:
            yield subscription
        finally:
            await subscription.aclose()

    async def nodes(self) -> Sequence[Node]:
        return [self._node]

    async def aclose(self) -> None:
        await self._node.aclose()


async def open(url: str, clock: Clock) -> ServerCache:
    """A cache on the server at `url`; nothing is contacted yet."""
    address = parse(url, many=False)
    return ServerCache(connect(address, *address.hosts[0], clock))


async def verify(url: str) -> str:
    """See `svc_kit.backends`."""
    return await inspect_server(parse(url, many=False))
