"""The contract of `feed_svc.fanout.store.TimelineStore`, for every adapter."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from feed_svc.fanout.store import Post, TimelineEntry, TimelineStore
from feed_svc.fanout.stores import TIMELINE_SCHEMES
from feed_svc.fanout.stores.cassandra import TABLES
from svc_kit.backends import resolve
from svc_kit.clock import now_ms, to_ms
from tests.support.clock import START, FakeClock
from tests.support.wide import WIDE, wide_store

NOW = to_ms(START)
DAY_MS = 24 * 3_600_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=WIDE)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> AsyncIterator[TimelineStore]:
    async with wide_store(request.param, tmp_path, TABLES) as url:
        opened = await resolve("REELGRAPH_WIDE_URL", url, TIMELINE_SCHEMES).open(url, clock=clock, gone_days=30)
        yield opened
        await opened.close()


def entry(video_id: int, author_id: int = 7, *, ago_ms: int = 0, version: int = 1, **facts: object) -> TimelineEntry:
    post = Post(video_id, author_id, NOW - ago_ms)
    made = TimelineEntry(post, "PUBLIC", ("cats", "größe"), 9000, "de", version)
    return replace(made, **facts)  # type: ignore[arg-type]


def gone(video_id: int, author_id: int = 7, *, version: int, at_ms: int = 0) -> TimelineEntry:
    return TimelineEntry(Post(video_id, author_id, at_ms), "PRIVATE", (), 0, "", version, deleted=True)


def ids(posts: object) -> list[int]:
    return [getattr(post, "post", post).video_id for post in posts]  # type: ignore[attr-defined]


async def test_an_entry_is_read_as_it_was_put(store: TimelineStore) -> None:
    one, other = entry(1), entry(2, hashtags=(), visibility="FOLLOWERS")
    await store.put([one, other])
    assert {e.post.video_id: e for e in await store.get([1, 2, 3])} == {1: one, 2: other}
    assert await store.newest([7], 10) == [other.post, one.post]
    assert await store.newest_public(10) == [one]


async def test_the_highest_version_stays_in_whatever_order_they_come(store: TimelineStore) -> None:
    private, public = entry(1, version=2, visibility="PRIVATE"), entry(1, version=3, language="fr")
    for first, *rest in ([public, private, entry(1)], [entry(2), public, private]):
        await store.put([first])
        for other in rest:
            await store.put([replace(other, post=first.post)])
    assert [e.language for e in await store.get([1, 2])] == ["fr", "fr"]
    assert ids(await store.newest([7], 10)) == [2, 1]


async def test_private_and_deleted_ones_are_not_listed(store: TimelineStore) -> None:
    await store.put([entry(i, ago_ms=i) for i in range(1, 6)])
    await store.put([entry(2, ago_ms=2, version=2, visibility="PRIVATE"), gone(3, version=2, at_ms=NOW - 3)])
    await store.put([entry(4, ago_ms=4, version=2, visibility="FOLLOWERS")])
    assert ids(await store.newest([7], 10)) == [1, 4, 5]
    assert ids(await store.newest([7], 10, public_only=True)) == [1, 5]
    assert ids(await store.newest_public(10)) == [1, 5]
    assert sorted(ids(await store.get([1, 2, 3, 4]))) == [1, 2, 4]


async def test_a_deletion_that_overtakes_its_publication_holds(store: TimelineStore) -> None:
    await store.put([gone(1, version=2)])
    await store.put([entry(1, ago_ms=5)])
    await store.put([entry(2)])
    await store.put([gone(2, version=5)])
    assert (ids(await store.newest([7], 10)), ids(await store.newest_public(10)), await store.get([1, 2])) == (
        [],
        [],
        [],
    )


async def test_deletion_and_publication_at_once_leave_nothing_listed(store: TimelineStore) -> None:
    videos = range(1, 31)
    puts = [store.put([entry(i)]) for i in videos] + [store.put([gone(i, version=2)]) for i in videos]
    random.Random(5).shuffle(puts)
    await asyncio.gather(*puts)
    assert (ids(await store.newest([7], 50)), ids(await store.newest_public(50))) == ([], [])


async def test_lists_of_many_authors_are_one_list_newest_first_below_a_place(store: TimelineStore) -> None:
    draw = random.Random(3)
    posts = []
    for video_id in range(1, 201):
        # One author is busy, most are not, and some videos are from the year before.
        author = 100 if video_id % 2 else draw.randrange(101, 140)
        posts.append(entry(video_id, author, ago_ms=draw.choice((0, 0, 0, 400 * DAY_MS)) + draw.randrange(60)))
    await store.put(posts)
    keys = sorted((e.post.key for e in posts), reverse=True)
    everyone = sorted({e.post.author_id for e in posts})
    for limit in (1, 17, 150, 300):
        assert [p.key for p in await store.newest(everyone, limit)] == keys[:limit]
    assert [p.key for p in await store.newest(everyone, 30, before=keys[40])] == keys[41:71]
    assert [p.key for p in await store.newest(everyone, 300, before=keys[-2])] == keys[-1:]
    some = set(everyone[1:6])
    expected = [e.post.key for e in sorted(posts, key=lambda e: e.post.key, reverse=True) if e.post.author_id in some]
    assert [p.key for p in await store.newest(sorted(some), 300)] == expected
    assert [e.post.key for e in await store.newest_public(150)] == keys[:150]
    assert await store.newest([], 10) == []


async def test_many_hidden_ones_do_not_hide_what_is_below_them(store: TimelineStore) -> None:
    await store.put([entry(i, ago_ms=i, visibility="PRIVATE") for i in range(1, 120)])
    await store.put([entry(200 + i, ago_ms=200 + i) for i in range(5)])
    assert ids(await store.newest([7], 3)) == [200, 201, 202]
    assert ids(await store.newest_public(3)) == [200, 201, 202]


async def test_what_was_not_heard_of_again_is_removed(store: TimelineStore, clock: FakeClock) -> None:
    await store.put([entry(i, ago_ms=i) for i in range(1, 5)])
    clock.advance(60)
    began = now_ms(clock)
    await store.put([entry(1, ago_ms=1), entry(2, ago_ms=2, version=3)])
    assert await store.remove_unheard(began) == 2
    assert await store.remove_unheard(began) == 0
    assert (ids(await store.newest([7], 10)), ids(await store.newest_public(10))) == ([1, 2], [1, 2])
    assert sorted(ids(await store.get([1, 2, 3, 4]))) == [1, 2]
    await store.put([entry(3, ago_ms=3), entry(4, ago_ms=4, version=2)])
    assert ids(await store.newest([7], 10)) == [1, 2, 4]
