"""The Redis client by URL: `memory://` (fakeredis in process), `redis://`, `rediss://`.

Whatever it holds can be rebuilt. Keys that are used together share a hash tag, so that they share a slot of a cluster.
"""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import RedisError

from svc_kit.backends import resolve
from svc_kit.caches import SCHEMES
from svc_kit.errors import unavailable


async def open_cache(url: str) -> Redis:
    """A client of the cache at `url`. Answers are bytes. Raises `UnknownScheme`, which names the valid ones."""
    client: Redis = await resolve("REELGRAPH_CACHE_URL", url, SCHEMES).open(url)
    return client


def bucket(user_id: int) -> str:
    """The hash tag of a user's keys: `{u<user id mod 1024>}`. A Lua batch serves one bucket."""
    return f"{{u{user_id % 1024}}}"


class cache_errors:
    """`with cache_errors():` the client's errors become UNAVAILABLE; their text stays in the logs."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RedisError):
            raise unavailable("The cache can't be reached.") from error
