"""What was last read of things, for while truth can't be read: in this process for what is asked for often, and in the
cache for a day, shared by all replicas.

Never an answer while truth can be read. The cache's copy is the newer one of the two: a command writes it after its
commit, so that what was removed stays out whichever replica is asked.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from svc_kit.cache import Cache, CacheError, Call, Script
from svc_kit.clock import Clock
from svc_kit.errors import AppError, Reason
from svc_kit.telemetry import log

V = TypeVar("V")

KEPT_S = 24 * 3600
WRITTEN_AGAIN_S = 6 * 3600
ALONE_S = 300.0
"""How old this process's own memory may be where the cache has nothing to say."""
ENTRIES = 20_000

TRUTH_S = 1.0
"""How long truth is waited for before what was last known is answered."""

_KEEP_NEWEST = Script("""
local held = redis.call('GET', KEYS[1])
if held and tonumber(string.match(held, '^%d+')) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
""")
_log = log(__name__)


@dataclass(slots=True)
class _Held(Generic[V]):
    value: V
    version: int
    read_at: float
    written_at: float


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Give the block so long; raises DEADLINE_EXCEEDED."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise AppError(Reason.DEADLINE_EXCEEDED, "It took too long.") from error


class LastKnown(Generic[V]):
    """Things of one kind by id. `kind` must be a dataclass that pydantic can write and read as JSON; `version_of` grows
    with each change of a thing."""

    def __init__(
        self,
        cache: Cache,
        clock: Clock,
        prefix: str,
        kind: type[V],
        version_of: Callable[[V], int],
        entries: int = ENTRIES,
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._prefix = prefix
        self._adapter: TypeAdapter[V] = TypeAdapter(kind)
        self._version_of = version_of
        self._entries = entries
        self._held: OrderedDict[int, _Held[V]] = OrderedDict()

    async def remember(self, values: Mapping[int, V]) -> None:
        """Keep what truth just said, or what a command just committed. Never raises for the cache's sake."""
        now = self._clock.monotonic()
        fresh = [(key, value) for key, value in values.items() if not self._renewed(key, value, now)]
        if not fresh:
            return
        try:
            await self._cache.batch([self._write(key, value) for key, value in fresh])
        except CacheError as error:
            _log.info("what is known was not shared", kind=self._prefix, error=str(error))
            return
        for key, value in fresh:
            self._hold(key, value, now, written_at=now)

    def _write(self, key: int, value: V) -> Call:
        version = self._version_of(value)
        return _KEEP_NEWEST.call([self._key(key)], [version, self._encode(version, value), KEPT_S])

    def _renewed(self, key: int, value: V, now: float) -> bool:
        """Whether everybody knows it already."""
        held, version = self._held.get(key), self._version_of(value)
        if held is not None and held.version >= version and now - held.written_at < WRITTEN_AGAIN_S:
            held.read_at = now
            self._held.move_to_end(key)
            return True
        self._hold(key, value, now, written_at=float("-inf"))
        return False

    def _hold(self, key: int, value: V, now: float, written_at: float) -> None:
        self._held[key] = _Held(value, self._version_of(value), now, written_at)
        self._held.move_to_end(key)
        if len(self._held) > self._entries:
            self._held.popitem(last=False)

    def held(self, key: int) -> V | None:
        """What this process itself knows, however old."""
        held = self._held.get(key)
        return None if held is None else held.value

    async def recall(self, keys: Sequence[int]) -> dict[int, V]:
        """The newest that is known of these; what nothing is known of is left out."""
        own = {key: held for key in keys if (held := self._held.get(key)) is not None}
        try:
            shared = await self._cache.get_many([self._key(key) for key in keys]) if keys else []
        except CacheError:
            shared = [None] * len(keys)
        now, found = self._clock.monotonic(), {}
        for key, raw in zip(keys, shared, strict=True):
            if raw is not None:
                found[key] = self._adapter.validate_json(raw.partition(b"|")[2])
            elif key in own and now - own[key].read_at < ALONE_S:
                found[key] = own[key].value
        return found

    def _key(self, key: int) -> str:
        return f"known:{self._prefix}:{key}"

    def _encode(self, version: int, value: V) -> bytes:
        return b"%d|" % version + self._adapter.dump_json(value)
