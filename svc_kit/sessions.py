"""What the cache knows of sessions, shared by those who end them and those who check them; the truth is graph_svc's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from svc_kit.cache import Cache, Call

REVOKED_CHANNEL = "sessions:revoked"
ACTIVE_FOR_S = 60
REVOKED_FOR_S = 3600
_ACTIVE, _REVOKED = b"1", b"0"


class SessionCache:
    """Session states by id. Every method raises `CacheError`: the caller then reads truth."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def known(self, session_ids: Sequence[int]) -> dict[int, bool]:
        """Whether each is active, where the cache knows."""
        if not session_ids:
            return {}
        states = await self._cache.get_many([_key(session_id) for session_id in session_ids])
        known = zip(session_ids, states, strict=True)
        return {session_id: state == _ACTIVE for session_id, state in known if state is not None}

    async def remember(self, states: Mapping[int, bool]) -> None:
        """Keep states just read from truth: active ones for 60 s, which bounds how long a lost revocation matters."""
        # NX: not over a revocation that came between reading the truth and now.
        await self._cache.batch(
            [
                _set(session_id, _ACTIVE if active else _REVOKED, ACTIVE_FOR_S, "NX")
                for session_id, active in states.items()
            ]
        )

    async def revoke(self, session_ids: Sequence[int]) -> None:
        """Replace cached states by a mark that no late reader overwrites, and tell everybody on `REVOKED_CHANNEL`."""
        await self._cache.batch([_set(session_id, _REVOKED, REVOKED_FOR_S) for session_id in session_ids])
        await self._cache.publish([(REVOKED_CHANNEL, str(session_id).encode()) for session_id in session_ids])


def _set(session_id: int, state: bytes, seconds: int, *conditions: str) -> Call:
    key = _key(session_id)
    return Call(key, ("SET", key, state, "EX", seconds, *conditions))


def _key(session_id: int) -> str:
    return f"session:{session_id}"
