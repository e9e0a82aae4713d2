"""The contract of `feed_svc.fanout.store.InboxStore`, for every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from feed_svc.fanout.store import InboxStore, Post
from feed_svc.fanout.stores.redis import RedisInboxStore
from svc_kit.cache import Cache, CacheDown, Call
from svc_kit.clock import SystemClock
from svc_kit.errors import AppError, Reason
from tests.support.cache import CACHES, empty_cache, keys, take_down

ME, OTHER, STRANGER = 1, 1025, 7
DIGEST = 42


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    async with empty_cache(request.param) as cache:
        yield cache


@pytest.fixture
def store(cache: Cache) -> InboxStore:
    return RedisInboxStore(cache, SystemClock(), ttl_s=60, entries=5)


def posts(*numbers: int) -> list[Post]:
    return [Post(n, 100 + n % 3, 1000 * n) for n in numbers]


async def filled(store: InboxStore, user_id: int, *numbers: int) -> None:
    token = await store.begin_fill(user_id)
    assert await store.fill(user_id, token, DIGEST, posts(*numbers))


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


async def test_a_brief_inbox_ends_soon_and_takes_pushes_till_then(cache: Cache) -> None:
    store = RedisInboxStore(cache, SystemClock(), ttl_s=86_400, entries=5, brief_s=120)
    for user_id, brief in ((ME, True), (OTHER, False)):
        assert await store.fill(user_id, await store.begin_fill(user_id), DIGEST, posts(1), brief=brief)
    await store.push(posts(2)[0], [ME, OTHER])
    assert [await contents(store, user_id) for user_id in (ME, OTHER)] == [[2, 1]] * 2
    mine, others = [await cache.call(key, "PTTL") for key in sorted(await keys(cache))]
    assert 100_000 < mine <= 120_000 < 70_000_000 < others <= 86_400_000


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
    token = await store.begin_fill(ME)
    assert await contents(store, ME) is None
    assert await store.push(posts(9)[0], [ME]) == 1
    assert await store.push(posts(3)[0], [ME]) == 1
    assert await store.fill(ME, token, DIGEST, posts(2, 3, 4))
    assert await contents(store, ME) == [9, 4, 3, 2]


async def test_a_filling_that_is_over_fills_nothing(store: InboxStore, cache: Cache) -> None:
    lost = await store.begin_fill(ME)
    await cache.flushall()
    assert not await store.fill(ME, lost, DIGEST, posts(1))
    assert await contents(store, ME) is None
    overtaken, token = await store.begin_fill(ME), await store.begin_fill(ME)
    assert not await store.fill(ME, overtaken, DIGEST, posts(1))
    assert await store.fill(ME, token, DIGEST, posts(2))
    assert not await store.fill(ME, token, DIGEST, posts(3))
    assert await contents(store, ME) == [2]


async def test_lost_is_absent_never_partial(store: InboxStore, cache: Cache) -> None:
    await filled(store, ME, 1)
    await cache.flushall()
    assert await store.push(posts(9)[0], [ME]) == 0
    assert await contents(store, ME) is None


async def test_many_followers_of_many_buckets_are_reached(store: InboxStore) -> None:
    users = list(range(1, 1200))
    for user in users[::10]:
        await filled(store, user)
    assert await store.push(posts(9)[0], users) == len(users[::10])


async def test_late_posts_take_their_place(store: InboxStore) -> None:
    await filled(store, ME, 3)
    for number in (7, 5, 1):
        assert await store.push(posts(number)[0], [ME]) == 1
    assert await contents(store, ME) == [7, 5, 3, 1]


async def test_ids_of_any_size_keep_their_order_within_one_millisecond(store: InboxStore) -> None:
    moment = 1_900_000_000_123
    same = [Post(n, 2**62 + 5, moment) for n in (2**62 + 2, 2**62 + 1, 255, 256)]
    token = await store.begin_fill(ME)
    assert await store.fill(ME, token, 2**62, same[:1])
    for post in [*same, *same]:
        await store.push(post, [ME])
    inbox = await store.read(ME, 2**62)
    assert inbox is not None
    assert inbox.posts == (same[0], same[1], same[3], same[2])


@pytest.mark.parametrize("late", [5, 6])
async def test_a_trimmed_inbox_holds_everything_down_to_its_last_post(store: InboxStore, late: int) -> None:
    numbers = [n for n in range(1, 41) if n != late]
    await filled(store, ME)
    for number in numbers:
        await store.push(posts(number)[0], [ME])
    kept = await store.read(ME, DIGEST)
    assert kept is not None
    for post in kept.posts[:2]:
        await store.withdraw(post, [ME])
    await store.push(posts(late)[0], [ME])
    inbox = await store.read(ME, DIGEST)
    assert inbox is not None
    assert inbox.is_full
    held = [post.video_id for post in inbox.posts]
    published = {n for n in numbers if n not in (39, 40)} | {late}
    assert held == sorted((n for n in published if n >= held[-1]), reverse=True)


async def test_an_inbox_of_which_nothing_is_left_but_that_it_was_trimmed_is_absent(store: InboxStore) -> None:
    await filled(store, ME, 1, 2, 3, 4, 5)
    for number in (1, 2, 3, 4, 5):
        await store.withdraw(posts(number)[0], [ME])
    assert await contents(store, ME) is None
    await filled(store, ME, 1)
    await store.withdraw(posts(1)[0], [ME])
    assert await contents(store, ME) == []


async def test_an_inbox_ends_however_often_it_is_read(store: InboxStore, cache: Cache) -> None:
    await filled(store, ME, 1)
    (key,) = await keys(cache)
    await store.push(posts(3)[0], [ME])
    await store.push(posts(2)[0], [ME])
    await store.withdraw(posts(1)[0], [ME])
    await contents(store, ME)
    assert 0 < await cache.call(key, "PTTL") <= 60_000
    await cache.call(key, "PEXPIRE", 1000)
    await contents(store, ME)
    assert await cache.call(key, "PTTL") <= 1000


async def test_a_cache_lost_between_batches_leaves_only_whole_inboxes(store: InboxStore, cache: Cache) -> None:
    users = list(range(1, 200))
    for user in users:
        await filled(store, user, 1)
    await store.push(posts(2)[0], users[:100])
    await cache.flushall()
    for user in users[:150]:
        await filled(store, user, 1, 2)
    assert await store.push(posts(3)[0], users) == 150
    found = [await contents(store, user) for user in users]
    assert found == [[3, 2, 1]] * 150 + [None] * 49


async def test_a_push_goes_on_after_a_late_answer_and_ends_when_there_is_none(
    store: InboxStore, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = list(range(1, 3000))
    for user in users[:5]:
        await filled(store, user)
    replies, failures = cache.replies, iter(range(2))

    async def late(calls: Sequence[Call]) -> list[Any]:
        done = await replies(calls)
        return done if next(failures, None) is None else [CacheDown("late")] * len(calls)

    monkeypatch.setattr(cache, "replies", late)
    assert await store.push(posts(9)[0], users) == 5
    assert [await contents(store, user) for user in users[:5]] == [[9]] * 5
    take_down(cache, monkeypatch)
    with pytest.raises(AppError) as failure:
        await store.push(posts(10)[0], users)
    assert failure.value.reason is Reason.UNAVAILABLE
