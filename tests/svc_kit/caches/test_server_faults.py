"""A Redis server that is silent, gone, back, slow to have connections: one deadline, then no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import TimeoutError as CacheTimeout

from svc_kit.cache import Cache, CacheDown, CacheError, Message, Script, open_cache
from svc_kit.caches import node as node_module
from svc_kit.caches.commands import Commands
from svc_kit.caches.metrics import DOWN, FAILURES
from svc_kit.wakeups import Wakeups
from tests.support.clock import FakeClock, ticking
from tests.support.redis_servers import OwnServer, own_server

pytestmark = [pytest.mark.servers, pytest.mark.engine("redis"), pytest.mark.xdist_group("redis")]

COUNT = Script("return redis.call('INCR', KEYS[1])")


@pytest.fixture
async def server() -> AsyncIterator[OwnServer]:
    async with own_server() as server:
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def cache(server: OwnServer, clock: FakeClock) -> AsyncIterator[Cache]:
    cache = await open_cache(f"{server.url}?timeout_ms=300&connections=4", clock)
    yield cache
    await cache.aclose()


def failures(server: OwnServer, kind: str) -> float:
    found: float = FAILURES.labels(f"127.0.0.1:{server.port}", kind)._value.get()
    return found


async def until_up(cache: Cache, clock: FakeClock) -> None:
    assert isinstance(cache, Commands)
    (node,) = await cache.nodes()
    async with asyncio.timeout(30), ticking(clock):
        while node.is_down:
            await asyncio.sleep(0.01)


async def test_a_silent_server_costs_one_deadline_and_is_found_again(
    cache: Cache, server: OwnServer, clock: FakeClock
) -> None:
    await cache.set("a", b"1", ttl_ms=600_000)
    server.pause()
    with pytest.raises(CacheTimeout):
        await cache.get("a")
    for _ in range(200):
        with pytest.raises(CacheDown):
            await cache.get("a")
    assert failures(server, "timeout") == 1
    assert DOWN.labels(f"127.0.0.1:{server.port}")._value.get() == 1
    server.resume()
    await until_up(cache, clock)
    assert await cache.get("a") == b"1"
    assert DOWN.labels(f"127.0.0.1:{server.port}")._value.get() == 0


async def test_while_it_stays_silent_no_caller_waits_for_it_again(
    cache: Cache, server: OwnServer, clock: FakeClock
) -> None:
    server.pause()
    with pytest.raises(CacheTimeout):
        await cache.get("a")
    for _ in range(3):
        async with asyncio.timeout(10):
            while not clock.sleepers:
                with pytest.raises(CacheDown):
                    await cache.get("a")
                await asyncio.sleep(0.01)
        clock.advance(60)
        await asyncio.sleep(0)
    assert failures(server, "timeout") == 1
    server.resume()
    await until_up(cache, clock)


async def test_callers_less_patient_than_the_deadline_let_a_silent_server_be_found_out(
    cache: Cache, server: OwnServer, clock: FakeClock
) -> None:
    await cache.ping()
    server.pause()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await cache.get("a")
    assert isinstance(cache, Commands)
    (node,) = await cache.nodes()
    async with asyncio.timeout(10):
        while not node.is_down:
            await asyncio.sleep(0.01)
    with pytest.raises(CacheDown):
        await cache.get("a")
    server.resume()
    await until_up(cache, clock)


async def test_a_killed_server_is_used_again_once_it_is_back(cache: Cache, server: OwnServer, clock: FakeClock) -> None:
    await asyncio.gather(*(cache.run(COUNT, ["n"]) for _ in range(20)))
    await server.kill()
    answers = await asyncio.gather(*(cache.run(COUNT, ["n"]) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(answer, CacheError) for answer in answers)
    await server.start()
    await until_up(cache, clock)
    assert sorted(await asyncio.gather(*(cache.run(COUNT, ["n"]) for _ in range(50)))) == list(range(1, 51))


async def test_a_restart_that_nobody_noticed_costs_nothing(cache: Cache, server: OwnServer) -> None:
    await asyncio.gather(*(cache.run(COUNT, ["n"]) for _ in range(20)))
    await server.kill()
    await server.start()
    assert sorted(await asyncio.gather(*(cache.run(COUNT, ["n"]) for _ in range(20)))) == list(range(1, 21))


async def test_calls_wait_for_one_of_few_connections(server: OwnServer) -> None:
    cache = await open_cache(f"{server.url}?connections=4", FakeClock())
    assert sorted(await asyncio.gather(*(cache.run(COUNT, ["n"]) for _ in range(200)))) == list(range(1, 201))
    ours = [client for client in await server.admin.client_list() if client["cmd"] != "client|list"]
    assert len(ours) <= 4
    await cache.aclose()


async def test_more_than_can_wait_are_refused_at_once(
    cache: Cache, server: OwnServer, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    monkeypatch.setattr(node_module, "WAITING", 10)
    await cache.ping()
    server.pause()
    answers = await asyncio.gather(*(cache.get("a") for _ in range(50)), return_exceptions=True)
    assert sum("too many calls wait" in str(answer) for answer in answers) == 36
    assert all(isinstance(answer, CacheError) for answer in answers)
    server.resume()
    await until_up(cache, clock)


async def test_a_busy_client_is_not_a_dead_server(cache: Cache, server: OwnServer) -> None:
    assert isinstance(cache, Commands)
    (node,) = await cache.nodes()
    for _ in range(4):
        await node._places.acquire()
    with pytest.raises(CacheTimeout, match="has no connection free"):
        await cache.get("a")
    for _ in range(4):
        node._places.release()
    await cache.ping()
    assert (failures(server, "busy"), failures(server, "timeout")) == (1, 0)


async def test_a_server_that_refuses_the_password_is_down_and_says_why(server: OwnServer) -> None:
    cache = await open_cache(f"redis://:wrong@127.0.0.1:{server.port}", FakeClock())
    with pytest.raises(CacheDown, match="invalid username-password pair"):
        await cache.get("a")
    await cache.aclose()


async def test_a_server_that_became_a_replica_is_left_for_whoever_has_its_name_now(
    cache: Cache, server: OwnServer, clock: FakeClock
) -> None:
    await asyncio.gather(*(cache.get("a") for _ in range(10)))
    before = {client["id"] for client in await server.admin.client_list()}
    await server.do("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(CacheError):
        await cache.set("a", b"1", ttl_ms=1000)
    await server.do("REPLICAOF", "NO", "ONE")
    await until_up(cache, clock)
    await cache.set("a", b"1", ttl_ms=1000)
    after = {client["id"] for client in await server.admin.client_list()}
    assert len(before & after) == 1  # The operator's own.


async def test_a_lost_subscription_says_so_and_wake_ups_begin_again(
    cache: Cache, server: OwnServer, clock: FakeClock
) -> None:
    wakeups = Wakeups(cache, clock)
    async with cache.subscribe() as subscription, wakeups.listen("a") as listener:
        await subscription.add("b")
        assert await subscription.next(10) == Message("b", None)
        assert await listener.wait(60)
        await server.kill()
        with pytest.raises(CacheError):
            await subscription.next(60)
        assert await listener.wait(60)  # Something may have been missed.
        await server.start()
        async with ticking(clock), asyncio.timeout(30):
            while not (await server.admin.pubsub_numsub("wake:a"))[0][1]:
                await asyncio.sleep(0.01)
        await until_up(cache, clock)
        listener.event.clear()
        await wakeups.wake(["a"])
        async with asyncio.timeout(10):
            await listener.event.wait()
    await wakeups.close()
