"""The contract of `svc_kit.cache.Cache`, for every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from svc_kit.cache import Cache, CacheError, Call, Message, Script, Subscription, bucket
from tests.support.cache import CACHES, empty_cache, keys

COUNT = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
JOIN = Script("return redis.call('GET', KEYS[1]) .. redis.call('GET', KEYS[2])")
MANY = [f"key:{n}" for n in range(300)]


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    async with empty_cache(request.param) as cache:
        yield cache


async def test_what_was_set_is_there_for_its_time(cache: Cache) -> None:
    assert await cache.get("a") is None
    await cache.set("a", b"\x00\xff", ttl_ms=60_000)
    assert await cache.get("a") == b"\x00\xff"
    assert 0 < await cache.call("a", "PTTL") <= 60_000


async def test_values_of_any_slots_come_in_order(cache: Cache) -> None:
    for key in MANY[::2]:
        await cache.set(key, key, ttl_ms=60_000)
    expected = [key.encode() if n % 2 == 0 else None for n, key in enumerate(MANY)]
    assert await cache.get_many(MANY) == expected
    assert await cache.get_many([]) == []


async def test_commands_answer_as_the_server_does(cache: Cache) -> None:
    assert await cache.call("h", "HSET", "x", 1) == 1
    assert await cache.call("h", "HMGET", "x", "y") == [b"1", None]
    assert await cache.call("s", "SET", "1", "NX") == b"OK"
    assert await cache.call("s", "SET", "2", "NX") is None


async def test_a_batch_answers_in_order_whatever_the_slots(cache: Cache) -> None:
    calls = [Call(key, ("INCRBY", key, n)) for n, key in enumerate(MANY)]
    calls += [COUNT.call([key], [1]) for key in MANY]
    assert await cache.batch(calls) == [*range(300), *range(1, 301)]
    assert await cache.batch([]) == []


async def test_an_error_in_a_batch_is_raised_when_the_others_are_done(cache: Cache) -> None:
    await cache.call("h", "HSET", "x", 1)
    calls = [Call("a", ("INCR", "a")), Call("h", ("INCR", "h")), Call("b", ("INCR", "b"))]
    with pytest.raises(CacheError):
        await cache.batch(calls)
    one, error, two = await cache.replies(calls)
    assert (one, two) == (2, 2)
    assert isinstance(error, CacheError)


async def test_scripts_run_on_keys_of_one_tag(cache: Cache) -> None:
    for user in (7, 1031, 2055):
        first, second = f"{bucket(user)}:a:{user}", f"{bucket(user)}:b:{user}"
        await cache.set(first, "x", ttl_ms=1000)
        await cache.set(second, str(user), ttl_ms=1000)
        assert await cache.run(JOIN, [first, second]) == f"x{user}".encode()


async def test_a_server_that_forgot_its_scripts_learns_them_again(cache: Cache) -> None:
    for _ in range(2):
        await cache.batch([COUNT.call([key], [1]) for key in MANY])
        for key in MANY[:50]:
            await cache.call(key, "GET")
            # Whatever server has the key.
            await cache.replies([Call(key, ("SCRIPT", "FLUSH"))])
    assert await cache.get_many(MANY) == [b"2"] * 300


async def test_many_calls_at_once_are_all_answered(cache: Cache) -> None:
    assert sorted(await asyncio.gather(*(cache.run(COUNT, ["n"], [1]) for _ in range(200)))) == list(range(1, 201))


async def test_everything_can_be_forgotten(cache: Cache) -> None:
    await cache.batch([Call(key, ("SET", key, "1")) for key in MANY])
    await cache.ping()
    await cache.flushall()
    assert await keys(cache) == []


async def heard(subscription: Subscription, count: int) -> list[Message]:
    async with asyncio.timeout(30):
        found: list[Message] = []
        while len(found) < count:
            message = await subscription.next(10)
            found += [message] if message else []
        return found


async def test_messages_reach_whoever_listens_to_their_channel(cache: Cache) -> None:
    channels = [f"channel:{n}" for n in range(20)]
    async with cache.subscribe() as one, cache.subscribe() as other:
        await one.add(*channels)
        await other.add("channel:3")
        assert {message.channel for message in await heard(one, 20)} == set(channels)
        assert await heard(other, 1) == [Message("channel:3", None)]
        await cache.publish([(channel, channel.encode()) for channel in channels])
        assert {message.data for message in await heard(one, 20)} == {channel.encode() for channel in channels}
        assert await heard(other, 1) == [Message("channel:3", b"channel:3")]


async def test_messages_of_a_channel_come_in_order(cache: Cache) -> None:
    async with cache.subscribe() as subscription:
        await subscription.add("a")
        await heard(subscription, 1)
        await cache.publish([("a", str(n).encode()) for n in range(100)])
        assert [message.data for message in await heard(subscription, 100)] == [str(n).encode() for n in range(100)]


async def test_a_channel_left_is_silent_and_may_be_joined_again(cache: Cache) -> None:
    async with cache.subscribe() as subscription:
        assert await subscription.next(0.01) is None
        for _ in range(3):
            await subscription.add("a", "b")
            await heard(subscription, 2)
            await subscription.remove("a", "b")
            await cache.publish([("a", b"lost"), ("b", b"lost")])
        await subscription.add("a")
        assert await heard(subscription, 1) == [Message("a", None)]
        await cache.publish([("a", b"1")])
        assert await heard(subscription, 1) == [Message("a", b"1")]
