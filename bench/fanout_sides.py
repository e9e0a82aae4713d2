"""What `bench.fanout` measures with: the driver alone, followers without a database, what a round costs."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis, RedisCluster

from feed_svc.fanout.store import FollowerPage, Post
from feed_svc.fanout.stores import redis as inboxes
from svc_kit.cache import Cache, Call
from svc_kit.caches.address import parse, raw
from svc_kit.caches.commands import Commands

# One member a post, as fan-out kept it before inboxes were packed: state key, add, trim, expire.
SORTED_SET = """
local reached = 0
for i = 1, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('ZADD', KEYS[i], ARGV[1], ARGV[2])
    redis.call('ZREMRANGEBYRANK', KEYS[i], 0, -tonumber(ARGV[3]) - 1)
    reached = reached + 1
  end
end
return reached
"""


def user(i: int) -> int:
    """Ids as the platform issues them: they grow with time, and their low bits are spread."""
    return (i + 1) << 22 | (i * 7919) & 1023


class Followers:
    """A `FollowGraph` that computes its answers: all memory is the job's own. Counts what it is asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.read = 0
        self.half = asyncio.Event()
        """Half of them have been read."""

    async def follower_count(self, author_id: int) -> int:
        return self.count

    async def active_followers(self, author_id: int, after_id: int, limit: int, since_ms: int) -> FollowerPage:
        first = after_id >> 22
        found = [user(i) for i in range(first, min(first + limit, self.count))]
        self.read += len(found)
        if self.read >= self.count // 2:
            self.half.set()
        return FollowerPage(found, found[-1] if len(found) == limit else 0)

    async def known_activity(self, user_id: int) -> int:
        return 0

    async def followee_ids(self, user_id: int) -> Sequence[int]:
        return []


class Bare:
    """The driver with the same scripts in batches of the same size, as many at once, and nothing around them."""

    def __init__(self, client: Any, script: str, key: Callable[[int], str], args: Callable[[Post], list[Any]]) -> None:
        self._client = client
        self._script = script
        self._key = key
        self._args = args

    async def load(self) -> None:
        """Tell the servers of the script."""
        if isinstance(self._client, RedisCluster):
            for node in self._client.get_primaries():
                self._sha = await self._client.execute_command("SCRIPT LOAD", self._script, target_nodes=node)
        else:
            self._sha = await self._client.script_load(self._script)
        self._sha = self._sha.decode() if isinstance(self._sha, bytes) else self._sha

    async def push(self, post: Post, user_ids: Sequence[int]) -> int:
        """See `InboxStore.push`."""
        args = self._args(post)
        batches = iter(inboxes.batched(user_ids, self._key))

        async def work() -> int:
            total = 0
            for batch in batches:
                pipeline = self._client.pipeline(transaction=False)
                for keys in batch:
                    pipeline.execute_command("EVALSHA", self._sha, len(keys), *keys, *args)
                total += sum(await pipeline.execute())
            return total

        return sum(await asyncio.gather(*(work() for _ in range(inboxes.BATCHES_AT_ONCE))))


class Spent:
    """Rounds of one way: inserts a second, CPU seconds here and at the servers."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.cpu: list[float] = []
        self.server_cpu: list[float] = []

    async def measure(self, cache: Cache, count: int, body: Callable[[], Awaitable[int]]) -> None:
        """One more round, which must reach all."""
        wall, cpu, servers = time.perf_counter(), time.process_time(), await server_cpu(cache)
        reached = await body()
        self.rates.append(count / (time.perf_counter() - wall))
        self.cpu.append(time.process_time() - cpu)
        self.server_cpu.append(await server_cpu(cache) - servers)
        assert reached == count, (reached, count)

    def line(self, what: str, count: int) -> str:
        """One row."""
        us = 1e6 / count
        return (
            f"{what:<44} {statistics.median(self.rates):9,.0f} inserts/s   CPU here "
            f"{statistics.median(self.cpu) * us:5.2f} us each, servers {statistics.median(self.server_cpu) * us:5.2f}"
        )


async def server_cpu(cache: Cache) -> float:
    """CPU seconds that the servers have used."""
    return sum([float(await fact(cache, "cpu", name)) for name in ("used_cpu_user", "used_cpu_sys")])


async def fact(cache: Cache, section: str, name: str) -> float:
    """A number of INFO, summed over the servers."""
    assert isinstance(cache, Commands)
    total = 0.0
    for node in await cache.nodes():
        (reply,) = await node.execute([Call("", ("INFO", section))])
        total += sum(float(line.split(b":")[1]) for line in reply.splitlines() if line.startswith(name.encode() + b":"))
    return total


def peak_kib() -> int:
    """The most memory this process has had since `reset_peak`."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)


def reset_peak() -> None:
    """Begin to measure."""
    Path("/proc/self/clear_refs").write_text("5")


@asynccontextmanager
async def bare_client(url: str) -> AsyncIterator[Any]:
    """redis-py as it comes."""
    address = parse(url, many="cluster" in url.partition(":")[0])
    host, port = address.hosts[0]
    if "cluster" in url.partition(":")[0]:
        client: Any = RedisCluster(host=host, port=port, password=address.password)
        await client.initialize()
    else:
        client = raw(Redis(host=host, port=port, db=address.database, password=address.password, protocol=2))
    try:
        yield client
    finally:
        await client.aclose()
