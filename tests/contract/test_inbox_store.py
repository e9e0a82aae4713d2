"""The contract of `feed_svc.fanout.store.InboxStore`, for every adapter."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from feed_svc.fanout.store import InboxStore, Post
from feed_svc.fanout.stores.redis import RedisInboxStore
from svc_kit.cache import open_cache

REDIS_URL = os.environ.get("REELGRAPH_TEST_REDIS_URL", "")
ME, OTHER, STRANGER = 1, 1025, 7
DIGEST = 42


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    if request.param == "redis" and not REDIS_URL:
        pytest.skip("REELGRAPH_TEST_REDIS_URL names no server")
    client = await open_cache(REDIS_URL if request.param == "redis" else "memory://")
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def store(cache: Redis) -> InboxStore:
    return RedisInboxStore(cache, ttl_s=60, entries=5)


def posts(*numbers: int) -> list[Post]:
    return [Post(n, 100 + n % 3, 1000 * n) for n in numbers]


async def filled(store: InboxStore, user_id: int, *numbers: int) -> None:
    await store.begin_fill(user_id)
    await store.fill(user_id, DIGEST, posts(*numbers))


async def contents(store: InboxStore, user_id: int, digest: int = DIGEST) -> list[int] | None:
    inbox = await store.read(user_id, digest)
    return [post.video_id for post in inbox.posts] if inbox else None


async def test_an_inbox_that_was_never_filled_is_absent(store: InboxStore) -> None:
    assert await contents(store, ME) is None


async def test_a_filled_inbox_is_newest_first_and_may_be_empty(store: InboxStore) -> None:
    await filled(store, ME, 1, 3, 2)
    await filled(store, OTHER)
    inbox = await store.read(ME, DIGEST)
    assert inbox is not None
    assert (list(inbox.posts), inbox.is_full) == (posts(3, 2, 1), False)
    assert await contents(store, OTHER) == []


async def test_it_belongs_to_the_followees_it_was_filled_for(store: InboxStore) -> None:
    await filled(store, ME, 1)
    assert await contents(store, ME, DIGEST + 1) is None


async def test_a_push_reaches_inboxes_that_exist_and_once(store: InboxStore) -> None:
    await filled(store, ME, 1)
    await filled(store, OTHER)
    for _ in range(2):
        assert await store.push(posts(9)[0], [ME, STRANGER, OTHER]) == 2
    assert [await contents(store, user) for user in (ME, OTHER, STRANGER)] == [[9, 1], [9], None]


async def test_an_inbox_is_trimmed_to_its_newest(store: InboxStore) -> None:
    await filled(store, ME, 1, 2, 3)
    for number in (4, 5, 6, 7):
        await store.push(posts(number)[0], [ME])
    inbox = await store.read(ME, DIGEST)
    assert inbox is not None
    assert ([post.video_id for post in inbox.posts], inbox.is_full) == ([7, 6, 5, 4, 3], True)
    await store.push(posts(2)[0], [ME])
    assert await contents(store, ME) == [7, 6, 5, 4, 3]


async def test_a_withdrawn_post_leaves_and_may_be_withdrawn_again(store: InboxStore) -> None:
    await filled(store, ME, 1, 2)
    for _ in range(2):
        await store.withdraw(posts(2)[0], [ME, STRANGER])
    assert await contents(store, ME) == [1]


async def test_while_it_is_filled_pushes_arrive_and_reads_do_not_see_it(store: InboxStore) -> None:
    await filled(store, ME, 1)
    await store.begin_fill(ME)
    assert await contents(store, ME) is None
    assert await store.push(posts(9)[0], [ME]) == 1
    await store.fill(ME, DIGEST, posts(2))
    assert await contents(store, ME) == [9, 2]


async def test_lost_is_absent_never_partial(store: InboxStore, cache: Redis) -> None:
    await filled(store, ME, 1)
    await cache.flushall()
    assert await store.push(posts(9)[0], [ME]) == 0
    assert await contents(store, ME) is None


async def test_many_followers_of_many_buckets_are_reached(store: InboxStore) -> None:
    users = list(range(1, 1200))
    for user in users[::10]:
        await filled(store, user)
    assert await store.push(posts(9)[0], users) == len(users[::10])
