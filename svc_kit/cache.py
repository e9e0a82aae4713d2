"""The cache's port, and the cache by URL: `memory://` (fakeredis in process), `redis://`, `rediss://`, `redis-cluster://`,
`rediss-cluster://`. `svc_kit.caches.address` says what a URL may hold.

Whatever the cache holds can be rebuilt. Keys that one command or script touches share a hash tag, so that they share a
slot of a cluster. A cache that is down costs a caller one deadline; after that calls fail at once until it answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from svc_kit.backends import resolve
from svc_kit.caches import SCHEMES
from svc_kit.clock import Clock, SystemClock
from svc_kit.errors import unavailable

Word = str | bytes | int

CacheError = RedisError
"""What every method of the port raises when it can't do its work."""


class CacheDown(RedisConnectionError):
    """The server can't be reached, or could not a moment ago: the call was not tried."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, sent once to a server and named by its digest from then on."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", digest)

    def call(self, keys: Sequence[str], args: Sequence[Word] = ()) -> Call:
        """A run of the script over at least one key; all keys share a slot."""
        return Call(keys[0], ("EVALSHA", self.sha, len(keys), *keys, *args), self)


@dataclass(frozen=True, slots=True)
class Call:
    """One command for one slot."""

    key: str
    """Decides the slot."""
    words: tuple[Word, ...]
    script: Script | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What a subscription receives."""

    channel: str
    data: bytes | None
    """None: the subscription to the channel holds from now on."""


class Subscription(Protocol):
    """Messages of some channels. Lossy: what is published while there is no connection is gone.

    All raise `CacheError` when the connection is lost: the subscription has ended then, and another one begins anew.
    """

    async def add(self, *channels: str) -> None:
        """Listen to these too; a `Message` without data tells when it holds."""
        ...

    async def remove(self, *channels: str) -> None:
        """Listen to these no longer."""
        ...

    async def next(self, timeout_s: float) -> Message | None:
        """The next message, or None when there is none within `timeout_s`. For one task at a time."""
        ...


class Cache(Protocol):
    """A Redis server or cluster. Values are bytes. Calls are bounded in number and time; `CacheError` when the cache
    can't be reached, is too busy or refuses."""

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        ...

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values in order; also None where the key's server can't answer while another one can."""
        ...

    async def set(self, key: str, value: Word, *, ttl_ms: int) -> None:
        """Set a value for so long."""
        ...

    async def call(self, key: str, command: str, *args: Word) -> Any:
        """One command whose first argument is `key`, as the server answers it."""
        ...

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Word] = ()) -> Any:
        """Run a script."""
        ...

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Do calls of any slots in one round trip a server, not atomically; answers in order. An error is raised when
        all others have been done."""
        ...

    async def replies(self, calls: Sequence[Call]) -> list[Any]:
        """As `batch`, but an error is the answer of its call: some servers may answer while others can't."""
        ...

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send to channels: (channel, data)."""
        ...

    def subscribe(self) -> AbstractAsyncContextManager[Subscription]:
        """Open a subscription to no channel yet, on connections of its own."""
        ...

    async def ping(self) -> None:
        """Raise unless every server answers."""
        ...

    async def flushall(self) -> None:
        """Forget everything."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


async def open_cache(url: str, clock: Clock | None = None, schemes: Mapping[str, str] = SCHEMES) -> Cache:
    """The cache at `url`; nothing is contacted yet. Raises `UnknownScheme`, which names the valid ones, and
    `EngineUnusable` for a URL that can't be right."""
    opened: Cache = await resolve("REELGRAPH_CACHE_URL", url, schemes).open(url, clock or SystemClock())
    return opened


def bucket(user_id: int) -> str:
    """The hash tag of a user's keys: `{u<user id mod 1024>}`. A Lua batch serves one bucket."""
    return f"{{u{user_id % 1024}}}"


class cache_errors:
    """`with cache_errors():` the cache's errors become UNAVAILABLE; their text stays in the logs."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CacheError):
            raise unavailable("The cache can't be reached.") from error
