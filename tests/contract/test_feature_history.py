"""The contract of `rank_svc.features.store.HistoryStore`, for every adapter."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rank_svc.features.store import MAX_HISTORY, HistoryStore, Interaction
from rank_svc.features.stores import SCHEMES
from rank_svc.features.stores.cassandra import TABLES
from svc_kit.backends import resolve
from svc_kit.clock import to_ms
from tests.support.clock import START, FakeClock
from tests.support.wide import WIDE, wide_store

NOW = to_ms(START)
DAY_MS = 24 * 3_600_000


@pytest.fixture(params=WIDE)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HistoryStore]:
    async with wide_store(request.param, tmp_path, TABLES) as url:
        opened = await resolve("REELGRAPH_WIDE_URL", url, SCHEMES).open(url, clock=FakeClock(), keep_days=90)
        yield opened
        await opened.close()


def watch(video_id: int, ago_ms: int = 0, watched_ms: int = 5000, **flags: bool) -> Interaction:
    return Interaction(video_id, 7, watched_ms, 9000, NOW - ago_ms, watched_at_ms=NOW - ago_ms, **flags)


def like(video_id: int, ago_ms: int, version: int, *, liked: bool = True) -> Interaction:
    return Interaction(video_id, 7, at_ms=NOW - ago_ms, liked=liked, like_version=version)


async def add(store: HistoryStore, *made: Interaction, viewer: int = 1) -> None:
    await store.append([(viewer, one) for one in made])


async def test_a_history_is_newest_first_and_has_at_most_so_many(store: HistoryStore) -> None:
    made = [watch(i, ago_ms=10_000 - i) for i in range(1, MAX_HISTORY + 31)]
    await add(store, *made)
    await add(store, watch(5, completed=True), viewer=2)

    found = await store.histories([1, 2, 3], MAX_HISTORY)

    assert found[1] == made[: -MAX_HISTORY - 1 : -1]
    assert found[2] == [watch(5, completed=True)]
    assert set(found) == {1, 2}
    assert len((await store.histories([1], 3))[1]) == 3


async def test_histories_reach_back_over_weeks(store: HistoryStore) -> None:
    made = [watch(i, ago_ms=i * 3 * DAY_MS) for i in range(25)]
    for viewer in (1, 2):
        await add(store, *made, viewer=viewer)
    assert await store.histories([1, 2], 100) == {1: made, 2: made}
    assert await store.histories([2], 7) == {2: made[:7]}


async def test_what_was_done_with_a_video_is_one_entry_whatever_comes_first(store: HistoryStore) -> None:
    done = [
        watch(5, 900, watched_ms=8000, completed=True),
        watch(5, 500, watched_ms=1000, skipped=True),
        like(5, 400, 3, liked=False),
        like(5, 600, 2),
        Interaction(5, 7, at_ms=NOW - 800, shared=True),
        Interaction(5, 7, at_ms=NOW - 700, commented=True),
    ]
    expected = Interaction(
        *(5, 7, 1000, 9000, NOW - 400),
        completed=True,
        skipped=True,
        shared=True,
        commented=True,
        like_version=3,
        watched_at_ms=NOW - 500,
    )
    for viewer in range(1, 6):
        order = random.Random(viewer).sample(done, len(done))
        for one in (*order, *order):
            await add(store, one, viewer=viewer)
    assert await store.histories(range(1, 6), 9) == {viewer: [expected] for viewer in range(1, 6)}


async def test_two_writers_do_not_undo_each_other(store: HistoryStore) -> None:
    await asyncio.gather(*(add(store, watch(i, i), like(i, i, 1), viewer=v) for i in range(1, 11) for v in (1, 2)))
    found = await store.histories([1, 2], 20)
    assert [(one.video_id, one.liked, one.watched_ms) for one in found[1]] == [(i, True, 5000) for i in range(1, 11)]
    assert found[1] == found[2]


async def test_a_forgotten_viewer_has_no_history(store: HistoryStore) -> None:
    await add(store, watch(5), watch(6, 50 * DAY_MS))
    await add(store, watch(5), viewer=2)
    await store.forget(1)
    assert set(await store.histories([1, 2], 9)) == {2}


async def test_a_cleared_store_is_empty_and_takes_the_same_events_again(store: HistoryStore) -> None:
    await add(store, watch(5), like(6, 10, 1))
    await store.clear()
    assert await store.histories([1], 9) == {}
    await add(store, watch(5), like(6, 10, 1))
    assert [one.video_id for one in (await store.histories([1], 9))[1]] == [5, 6]
