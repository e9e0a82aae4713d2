"""Revocations over the cache's pub/sub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from svc_kit.errors import unavailable
from svc_kit.sessions import REVOKED_CHANNEL, SessionCache
from svc_kit.telemetry import log

_LOST = "Revocations can't be followed now."
_POLL_S = 5.0
_log = log(__name__)


class RedisRevocations:
    """`Revocations` by Redis; each watcher has a connection of its own, there is one watcher a gateway process."""

    def __init__(self, cache: Redis) -> None:
        self._cache = cache
        self._sessions = SessionCache(cache)

    async def publish(self, session_ids: Sequence[int]) -> None:
        try:
            await self._sessions.revoke(session_ids)
        except (RedisError, OSError) as error:
            _log.warning("a revocation was not told", sessions=list(session_ids), error=str(error))

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[int]]:
        async with self._cache.pubsub(ignore_subscribe_messages=True) as channel:
            try:
                await channel.subscribe(REVOKED_CHANNEL)
            except (RedisError, OSError) as error:
                raise unavailable(_LOST) from error
            yield _session_ids(channel)


async def _session_ids(channel: Any) -> AsyncIterator[int]:
    while True:
        try:
            message = await channel.get_message(timeout=_POLL_S)
        except (RedisError, OSError) as error:
            raise unavailable(_LOST) from error
        if message is not None:
            yield int(message["data"])
