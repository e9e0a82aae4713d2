"""A Redis server."""

from __future__ import annotations

from redis.asyncio import Redis

TIMEOUT_S = 1.0
MAX_CONNECTIONS = 100


async def open(url: str) -> Redis:
    """A client with bounded connections; nothing is contacted yet."""
    return Redis.from_url(
        url, max_connections=MAX_CONNECTIONS, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
    )
