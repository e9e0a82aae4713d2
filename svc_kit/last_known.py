"""What was last read of things, for while truth can't be read: in this process for what is asked for often, and in the
cache for a day, shared by all replicas.

Never an answer while truth can be read. Of the two copies the one of the higher version counts. A command writes the
cache's after its commit, so that what was removed stays out whichever replica is asked; what the cache did not take
then, it gets when it answers again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
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

SHARED_AGAIN_S = 1.0
"""So long after the cache took nothing it is not asked again to take what it missed."""
_SHARED_AT_ONCE = 500

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
        self._unshared: OrderedDict[int, V] = OrderedDict()
        """What the cache did not take, at most `entries`; the latest stay."""
        self._share_at = float("-inf")

    async def remember(self, values: Mapping[int, V]) -> None:
        """Keep what truth just said, or what a command just committed. Never raises for the cache's sake."""
        now = self._clock.monotonic()
        fresh = [(key, value) for key, value in values.items() if not self._renewed(key, value, now)]
        if not fresh or await self._share(fresh):
            await self._share_missed()

    async def _share(self, known: Sequence[tuple[int, V]]) -> bool:
        """Have the cache know these; what it does not take is kept for later."""
        try:
            await self._cache.batch([self._write(key, value) for key, value in known])
        except CacheError as error:
            _log.info("what is known was not shared", kind=self._prefix, error=str(error))
            self._share_at = self._clock.monotonic() + SHARED_AGAIN_S
            self._miss(known)
            return False
        now = self._clock.monotonic()
        for key, value in known:
            version, held, missed = self._version_of(value), self._held.get(key), self._unshared.get(key)
            if held is not None and held.version == version:
                held.written_at = now
            if missed is not None and self._version_of(missed) <= version:
                del self._unshared[key]
        return True

    def _miss(self, known: Sequence[tuple[int, V]]) -> None:
        for key, value in known:
            missed = self._unshared.get(key)
            if missed is None or self._version_of(missed) <= self._version_of(value):
                self._unshared[key] = value
                self._unshared.move_to_end(key)
        while len(self._unshared) > self._entries:
            self._unshared.popitem(last=False)

    async def _share_missed(self) -> None:
        """Once the cache answers again: what it missed, some at a time."""
        if self._unshared and self._clock.monotonic() >= self._share_at:
            await self._share(list(islice(self._unshared.items(), _SHARED_AT_ONCE)))

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
        await self._share_missed()
        try:
            shared = await self._cache.get_many([self._key(key) for key in keys]) if keys else []
        except CacheError:
            shared = [None] * len(keys)
        now, found = self._clock.monotonic(), {}
        for key, raw in zip(keys, shared, strict=True):
            held = self._held.get(key)
            if raw is not None:
                found[key] = self._newest(key, raw)
            elif held is not None and now - held.read_at < ALONE_S:
                found[key] = held.value
        return found

    def _newest(self, key: int, raw: bytes) -> V:
        """What the cache says, unless this process knows of a later change, however long ago it learnt of it."""
        version, _, encoded = raw.partition(b"|")
        held, missed = self._held.get(key), self._unshared.get(key)
        own = [value for value in (missed, held.value if held else None) if value is not None]
        newest = max(own, key=self._version_of, default=None)
        if newest is not None and self._version_of(newest) > int(version):
            return newest
        return self._adapter.validate_json(encoded)

    def _key(self, key: int) -> str:
        return f"known:{self._prefix}:{key}"

    def _encode(self, version: int, value: V) -> bytes:
        return b"%d|" % version + self._adapter.dump_json(value)
