"""The contract of `feed_svc.watches.store.WatchHistory`, for every adapter."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from feed_svc.watches.store import HistoryEntry, HistoryPlace, WatchHistory
from feed_svc.watches.stores import HISTORY_SCHEMES
from feed_svc.watches.stores.cassandra import TABLES
from svc_kit.backends import resolve
from svc_kit.clock import to_ms
from svc_kit.errors import AppError, Reason
from svc_kit.ids import EPOCH_MS
from tests.support.clock import START, FakeClock
from tests.support.wide import WIDE, wide_store

ME, OTHER = 1, 2
NOW = to_ms(START)
DAY_MS = 24 * 3_600_000


@pytest.fixture(params=WIDE)
async def history(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WatchHistory]:
    async with wide_store(request.param, tmp_path, TABLES) as url:
        opened = await resolve("REELGRAPH_WIDE_URL", url, HISTORY_SCHEMES).open(url, clock=FakeClock(), keep_days=365)
        yield opened
        await opened.close()


def entry(video_id: int, ago_ms: int, watched_ms: int = 1000) -> HistoryEntry:
    return HistoryEntry(video_id, NOW - ago_ms, watched_ms)


def made(days_ago: int, number: int = 0) -> int:
    """The id of a video that was made so long ago."""
    return (NOW - days_ago * DAY_MS - EPOCH_MS) << 22 | number


async def add(history: WatchHistory, *entries: HistoryEntry, viewer: int = ME) -> None:
    await history.append([(viewer, one) for one in entries])


async def walk(history: WatchHistory, size: int, viewer: int = ME) -> list[list[HistoryEntry]]:
    """All pages."""
    pages: list[list[HistoryEntry]] = []
    place: HistoryPlace | None = None
    while True:
        found = await history.page(viewer, size, place)
        pages.append(list(found.entries))
        if not found.more:
            return pages
        assert found.entries
        place = HistoryPlace(found.entries[-1].key, found.state)


def expected(watches: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    last = {one.video_id: one for one in sorted(watches, key=lambda one: one.watched_at_ms)}
    return sorted(last.values(), key=lambda one: one.key, reverse=True)


async def test_a_video_is_there_once_where_it_was_watched_last(history: WatchHistory) -> None:
    await add(history, entry(10, 300), entry(11, 200), entry(12, 200, 7), entry(10, 100, 9))
    await add(history, entry(13, 50), viewer=OTHER)

    found = await history.page(ME, 10)

    assert found.entries == [entry(10, 100, 9), entry(12, 200, 7), entry(11, 200)]
    assert not found.more
    assert (await history.page(3, 10)).entries == []


async def test_what_arrives_late_or_again_changes_nothing(history: WatchHistory) -> None:
    for batch in ([entry(10, 100), entry(11, 90)], [entry(10, 500, 3)], [entry(11, 90), entry(10, 100)]):
        await add(history, *batch)
    assert (await history.page(ME, 10)).entries == [entry(11, 90), entry(10, 100)]
    assert await history.last(ME, [10, 11, 12]) == {10: NOW - 100, 11: NOW - 90}
    assert await history.last(OTHER, [10]) == {}


async def test_pages_join_without_gap_or_repetition_over_months(history: WatchHistory) -> None:
    draw = random.Random(7)
    videos = [made(draw.randrange(300), number) for number in range(60)]
    watches = [
        entry(draw.choice(videos), draw.choice((0, 1, 2, 70, 71, 200)) * DAY_MS + draw.randrange(50))
        for _ in range(220)
    ]
    watches = list({one.key: one for one in watches}.values())
    await add(history, *watches)
    for size in (1, 7, 20, 59, 60, 61):
        pages = await walk(history, size)
        assert [one for page in pages for one in page] == expected(watches)
        assert all(len(page) == size for page in pages[:-1])
        assert pages[-1]


async def test_a_page_that_ends_exactly_with_the_history_is_the_last(history: WatchHistory) -> None:
    await add(history, *(entry(i, i) for i in range(1, 21)))
    assert [len(page) for page in await walk(history, 10)] == [10, 10]
    assert [len(page) for page in await walk(history, 20)] == [20]


async def test_a_page_may_begin_below_any_entry(history: WatchHistory) -> None:
    await add(history, *(entry(i, i) for i in range(1, 31)))
    first = await history.page(ME, 20)
    middle = await history.page(ME, 5, HistoryPlace(first.entries[9].key))
    assert [one.video_id for one in middle.entries] == [11, 12, 13, 14, 15]
    nowhere = await history.page(ME, 5, HistoryPlace((NOW - 10, 0)))
    assert [one.video_id for one in nowhere.entries] == [11, 12, 13, 14, 15]


async def test_what_is_watched_while_paging_neither_shifts_nor_repeats(history: WatchHistory) -> None:
    await add(history, *(entry(i, i * 10) for i in range(1, 41)))
    first = await history.page(ME, 10)
    await add(history, entry(99, 0), entry(25, 5))
    place = HistoryPlace(first.entries[-1].key, first.state)
    rest = await history.page(ME, 40, place)
    assert [one.video_id for one in rest.entries] == [i for i in range(11, 41) if i != 25]


async def test_a_foreign_state_is_bad_input(history: WatchHistory) -> None:
    await add(history, *(entry(i, i) for i in range(1, 5)))
    for state in ("x", "Z2FyYmFnZQ==", "A" * 24, "A" * 40):
        with pytest.raises(AppError) as refused:
            await history.page(ME, 2, HistoryPlace((NOW, 5), state))
        assert refused.value.reason is Reason.BAD_USER_INPUT
        assert refused.value.violations[0].field == "page_token"


async def test_one_video_over_and_over_does_not_hide_the_others(history: WatchHistory) -> None:
    await add(history, *(entry(7, i) for i in range(400)), entry(8, 1000))
    found = await history.page(ME, 1)
    assert (found.entries, found.more) == ([entry(7, 0)], True)
    assert [one.video_id for page in await walk(history, 5) for one in page] == [7, 8]
