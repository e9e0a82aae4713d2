"""Revocations over the cache's pub/sub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from svc_kit.cache import Cache, CacheError, Subscription
from svc_kit.errors import unavailable
from svc_kit.sessions import REVOKED_CHANNEL, SessionCache
from svc_kit.telemetry import log

_LOST = "Revocations can't be followed now."
_POLL_S = 5.0
_log = log(__name__)


class RedisRevocations:
    """`Revocations` by Redis; each watcher has a connection of its own, there is one watcher a gateway process."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._sessions = SessionCache(cache)

    async def publish(self, session_ids: Sequence[int]) -> None:
        try:
            await self._sessions.revoke(session_ids)
        except CacheError as error:
            _log.warning("a revocation was not told", sessions=list(session_ids), error=str(error))

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[int]]:
        async with AsyncExitStack() as stack:
            try:
                channel = await stack.enter_async_context(self._cache.subscribe())
                await channel.add(REVOKED_CHANNEL)
                holds = await channel.next(_POLL_S)
            except CacheError as error:
                raise unavailable(_LOST) from error
            if holds is None:
                raise unavailable(_LOST)
            yield _session_ids(channel)


async def _session_ids(channel: Subscription) -> AsyncIterator[int]:
    while True:
        try:
            message = await channel.next(_POLL_S)
        except CacheError as error:
            raise unavailable(_LOST) from error
        if message is not None and message.data is not None:
            yield int(message.data)
