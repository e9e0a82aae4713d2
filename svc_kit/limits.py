"""Rate limits: at most so many in any window, counted exactly, in Redis. When Redis is down, everything is allowed."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from svc_kit.cache import Cache, CacheError, Script, Word
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import rate_limited
from svc_kit.telemetry import log

_log = log(__name__)

# Scores are the caller's clock, so that a test's clock counts too; the expiry only cleans up.
_TAKE = Script("""
local now, window, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if redis.call('ZCARD', KEYS[1]) >= most then
  return tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]) + window - now
end
redis.call('ZADD', KEYS[1], now, ARGV[4])
redis.call('PEXPIRE', KEYS[1], window)
return 0
""")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` in any `window_s` seconds for one subject."""

    name: str
    """Names its keys: `sign_up`."""
    count: int
    window_s: float
    message: str
    """For the person who is refused."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One counted use, to be given back with `RateLimiter.give_back`."""

    key: str
    member: str


class RateLimiter:
    """Counts uses of limits. Its memory is bounded: no more than `count` entries a subject, each for one window."""

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock

    async def take(self, limit: Limit, subject: str) -> Ticket:
        """Count one use by `subject` (an address, an account); raises RATE_LIMITED with `retry_after_ms` when there are
        `limit.count` in the window already. Counting comes before the act, so that many at once can't slip through."""
        ticket = Ticket(f"limit:{limit.name}:{_digest(subject)}", f"{now_ms(self._clock)}-{secrets.token_hex(8)}")
        arguments: list[Word] = [now_ms(self._clock), int(limit.window_s * 1000), limit.count, ticket.member]
        try:
            wait_ms = await self._cache.run(_TAKE, [ticket.key], arguments)
        except CacheError as error:
            _log.warning("rate limits are not counted", limit=limit.name, error=str(error))
            return ticket
        if int(wait_ms) > 0:
            raise rate_limited(limit.message, int(wait_ms))
        return ticket

    async def give_back(self, ticket: Ticket) -> None:
        """Take one use back: it turned out not to count."""
        try:
            await self._cache.call(ticket.key, "ZREM", ticket.member)
        except CacheError as error:
            _log.warning("a rate limit was not given back", key=ticket.key, error=str(error))


def _digest(subject: str) -> str:
    # Keys hold no addresses and names, and are short whatever the subject is.
    return hashlib.sha256(subject.encode()).hexdigest()[:32]
