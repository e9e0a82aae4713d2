"""A cluster whose servers die, are replaced, and give slots to each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.crc import key_slot
from redis.exceptions import TimeoutError as CacheTimeout

from feed_svc.fanout.store import Post
from feed_svc.fanout.stores.redis import RedisInboxStore
from svc_kit.cache import Cache, CacheDown, CacheError, Message, Script, open_cache
from svc_kit.clock import SystemClock
from svc_kit.wakeups import Wakeups
from tests.support.clock import FakeClock, ticking
from tests.support.redis_servers import SLOTS, OwnServer, cluster_url, node_id, own_cluster

pytestmark = [pytest.mark.servers, pytest.mark.engine("redis-cluster"), pytest.mark.xdist_group("redis-cluster")]

KEYS = [f"key:{n}" for n in range(120)]
COUNT = Script("return redis.call('INCR', KEYS[1]) + 0 * (redis.call('INCR', KEYS[2]))")


@pytest.fixture
async def servers() -> AsyncIterator[list[OwnServer]]:
    async with own_cluster() as servers:
        yield servers


@pytest.fixture
async def cache(servers: list[OwnServer]) -> AsyncIterator[Cache]:
    cache = await open_cache(cluster_url(servers, "?timeout_ms=300"), SystemClock())
    yield cache
    await cache.aclose()


def number_of(key: str) -> int:
    """Which of the three servers has a key in the beginning."""
    return next(n for n in range(3) if key_slot(key.encode()) < SLOTS * (n + 1) // 3)


async def answered(cache: Cache, keys: Sequence[str]) -> None:
    """Return when all keys are answered for again."""
    async with asyncio.timeout(30):
        while any(isinstance(r, Exception) for r in [await _try(cache, key) for key in keys]):
            await asyncio.sleep(0.05)


async def _try(cache: Cache, key: str) -> object:
    try:
        return await cache.get(key)
    except CacheError as error:
        return error


async def test_one_silent_server_costs_one_deadline_and_the_others_nothing(
    cache: Cache, servers: list[OwnServer]
) -> None:
    for key in KEYS:
        await cache.set(key, key, ttl_ms=600_000)
    gone = [key for key in KEYS if number_of(key) == 0]
    servers[0].pause()
    expected = [None if key in gone else key.encode() for key in KEYS]
    assert await cache.get_many(KEYS) == expected
    for key in KEYS:
        if key in gone:
            with pytest.raises(CacheDown):
                await cache.get(key)
        else:
            assert await cache.get(key) == key.encode()
    assert await cache.get_many(KEYS) == expected
    with pytest.raises(CacheError):
        await cache.get_many(gone)
    with pytest.raises(CacheError):
        await cache.ping()
    servers[0].resume()
    await answered(cache, KEYS)
    assert await cache.get_many(KEYS) == [key.encode() for key in KEYS]


async def test_a_cluster_is_found_as_long_as_one_of_the_named_servers_answers(servers: list[OwnServer]) -> None:
    servers[0].pause()
    cache = await open_cache(cluster_url(servers, "?timeout_ms=300"), SystemClock())
    key = next(key for key in KEYS if number_of(key) == 2)
    assert await cache.get(key) is None
    await cache.aclose()
    servers[0].resume()


async def test_a_cluster_of_which_no_server_answers_costs_one_deadline(servers: list[OwnServer]) -> None:
    clock = FakeClock()
    for server in servers:
        server.pause()
    cache = await open_cache(cluster_url(servers, "?timeout_ms=300"), clock)
    with pytest.raises(CacheError, match="no server of the cluster answers"):
        await cache.get("a")
    for _ in range(100):
        with pytest.raises(CacheDown, match="no server of the cluster has answered"):
            await cache.get("a")
    for server in servers:
        server.resume()
    async with ticking(clock):
        await answered(cache, KEYS)
    await cache.aclose()


async def test_a_replica_that_takes_over_is_found() -> None:
    async with own_cluster(replicas=1) as servers:
        cache = await open_cache(cluster_url(servers, "?timeout_ms=300"), SystemClock())
        for key in KEYS:
            await cache.set(key, key, ttl_ms=600_000)
        moved = [key for key in KEYS if number_of(key) == 0]
        # WAIT answers for what its own connection wrote, and with that for all that came before it.
        await servers[0].do("SET", moved[0], moved[0])
        assert await servers[0].do("WAIT", 1, 10_000) == 1
        servers[0].pause()
        with pytest.raises(CacheTimeout):
            await cache.get(moved[0])
        await servers[3].do("CLUSTER", "FAILOVER", "TAKEOVER")
        await answered(cache, moved)
        assert await cache.get_many(KEYS) == [key.encode() for key in KEYS]
        await cache.aclose()
        servers[0].resume()


async def move(servers: Sequence[OwnServer], slot: int, source: int, target: int, keys: Sequence[str]) -> None:
    """Begin to move a slot, and move some of its keys."""
    source_id, target_id = await node_id(servers[source]), await node_id(servers[target])
    await servers[target].do("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    await servers[source].do("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    for key in keys:
        port = servers[target].port
        await servers[source].do(*("MIGRATE", "127.0.0.1", port, key, 0, 5000, "AUTH", "a-password"))


async def settle(servers: Sequence[OwnServer], slot: int, target: int) -> None:
    """The slot has moved."""
    target_id = await node_id(servers[target])
    for server in [servers[target], *servers]:
        await server.do("CLUSTER", "SETSLOT", slot, "NODE", target_id)


async def test_keys_are_found_while_their_slot_moves_and_after(cache: Cache, servers: list[OwnServer]) -> None:
    slot, source = key_slot(b"{t}"), number_of("{t}")
    target = (source + 1) % 3
    keys = [f"{{t}}:{n}" for n in range(6)]
    for key in keys:
        await cache.set(key, "1", ttl_ms=600_000)
    await move(servers, slot, source, target, keys[:3])
    assert await cache.get_many([*keys, "{t}:new", *KEYS]) == [b"1"] * 6 + [None] * (1 + len(KEYS))
    assert await cache.run(COUNT, keys[:2]) == 2
    assert await cache.run(COUNT, keys[4:]) == 2
    await cache.set("{t}:new", "1", ttl_ms=600_000)
    # Half of its keys are here, half there: for as long as that lasts the server says to try again.
    with pytest.raises(CacheError):
        await cache.run(COUNT, [keys[1], keys[4]])
    await move(servers, slot, source, target, keys[3:])
    await settle(servers, slot, target)
    assert await cache.run(COUNT, [keys[1], keys[4]]) == 3
    assert await cache.get_many([*keys, "{t}:new"]) == [b"2", b"3", b"1", b"1", b"3", b"2", b"1"]


async def test_a_fan_out_goes_on_while_slots_move(cache: Cache, servers: list[OwnServer]) -> None:
    store = RedisInboxStore(cache, SystemClock(), ttl_s=600, entries=10)
    users = list(range(1, 200))
    for user in users:
        assert await store.fill(user, await store.begin_fill(user), 0, [])
    for user in (1, 2, 3):
        slot, source = key_slot(f"{{u{user}}}".encode()), number_of(f"{{u{user}}}")
        await move(servers, slot, source, (source + 1) % 3, [f"{{u{user}}}:inbox:{user}"] if user != 2 else [])
    assert await store.push(Post(9, 9, 9), users) == len(users)
    await settle(servers, key_slot(b"{u1}"), (number_of("{u1}") + 1) % 3)
    assert await store.push(Post(10, 9, 10), users) == len(users)
    for user in (1, 2, 3, 77):
        inbox = await store.read(user, 0)
        assert inbox is not None
        assert [post.video_id for post in inbox.posts] == [10, 9]


async def test_a_subscription_ends_when_a_slot_moves_and_wake_ups_begin_again(
    cache: Cache, servers: list[OwnServer]
) -> None:
    wakeups = Wakeups(cache, SystemClock())
    slot, source = key_slot(b"wake:a"), number_of("wake:a")
    target = (source + 1) % 3
    async with cache.subscribe() as subscription, wakeups.listen("a") as listener:
        await subscription.add("wake:a")
        assert await subscription.next(10) == Message("wake:a", None)
        assert await listener.wait(60)
        await move(servers, slot, source, target, [])
        await settle(servers, slot, target)
        with pytest.raises(CacheError):
            await subscription.next(30)
        async with asyncio.timeout(30):
            while not (await servers[target].do("PUBSUB", "SHARDNUMSUB", "wake:a"))[1]:
                await asyncio.sleep(0.02)
        listener.event.clear()
        await wakeups.wake(["a"])
        async with asyncio.timeout(10):
            await listener.event.wait()
    await wakeups.close()
