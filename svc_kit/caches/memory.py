"""Redis inside this process: what it holds is gone with it."""

from __future__ import annotations

from fakeredis import FakeAsyncRedis, FakeServer

from svc_kit.caches.address import raw
from svc_kit.caches.node import Node
from svc_kit.caches.redis import ServerCache
from svc_kit.clock import Clock

IMPATIENCE_S = 5.0
CONNECTIONS = 100


async def open(url: str, clock: Clock) -> ServerCache:
    """A server of its own, for the one cache that is returned."""
    server = FakeServer()
    client, listener = (raw(FakeAsyncRedis(server=server)) for _ in range(2))
    return ServerCache(Node(client, listener, clock, name="memory", timeout_s=IMPATIENCE_S, connections=CONNECTIONS))
