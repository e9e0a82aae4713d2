"""What the cache knows of sessions, shared by those who end them and those who check them; the truth is graph_svc's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

REVOKED_CHANNEL = "sessions:revoked"
ACTIVE_FOR_S = 60
REVOKED_FOR_S = 3600
_ACTIVE, _REVOKED = b"1", b"0"


class SessionCache:
    """Session states by id. Every method raises redis' errors: the caller then reads truth."""

    def __init__(self, cache: Redis) -> None:
        self._cache = cache

    async def known(self, session_ids: Sequence[int]) -> dict[int, bool]:
        """Whether each is active, where the cache knows."""
        found = {}
        for session_id in session_ids:
            state = await self._cache.get(_key(session_id))
            if state is not None:
                found[session_id] = state == _ACTIVE
        return found

    async def remember(self, states: Mapping[int, bool]) -> None:
        """Keep states just read from truth: active ones for 60 s, which bounds how long a lost revocation matters."""
        for session_id, active in states.items():
            # Not over a revocation that came between reading the truth and now.
            await self._cache.set(_key(session_id), _ACTIVE if active else _REVOKED, ex=ACTIVE_FOR_S, nx=True)

    async def revoke(self, session_ids: Sequence[int]) -> None:
        """Replace cached states by a mark that no late reader overwrites, and tell everybody on `REVOKED_CHANNEL`."""
        for session_id in session_ids:
            await self._cache.set(_key(session_id), _REVOKED, ex=REVOKED_FOR_S)
            await self._cache.publish(REVOKED_CHANNEL, str(session_id))


def _key(session_id: int) -> str:
    return f"session:{session_id}"
