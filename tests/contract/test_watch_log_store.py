"""The contract of `feed_svc.watches.store.WatchLog`, for every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from feed_svc.feeds.stores.sql import SqlInteractionStore
from feed_svc.schema import metadata, outbox, replies
from feed_svc.watches.store import WatchLog, WatchRow
from feed_svc.watches.stores.sql import SqlWatchLog
from svc_kit.caller import Caller
from svc_kit.ids import IdGenerator
from svc_kit.uow import UnitOfWork
from tests.support.clock import FakeClock
from tests.support.databases import DATABASES, opened_database

ME, OTHER = 1, 2
ROW = WatchRow(ME, "a" * 36, 10, 100, 4000, 5000, True, False, "5f", 3, ("cats", "größe"), 1000)


@pytest.fixture(params=DATABASES)
async def uow(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UnitOfWork]:
    clock = FakeClock()
    async with opened_database(request.param, tmp_path, metadata) as db:
        yield UnitOfWork(db, outbox, replies, IdGenerator(clock), clock)


@pytest.fixture
def log(uow: UnitOfWork) -> WatchLog:
    return SqlWatchLog(uow)


def row(number: int, video_id: int, at_ms: int, user_id: int = ME) -> WatchRow:
    return replace(ROW, watch_id=f"{number:036d}", video_id=video_id, at_ms=at_ms, user_id=user_id)


async def add(log: WatchLog, *rows: WatchRow) -> list[bool]:
    async with log.begin(Caller(user_id=ME)) as tx:
        return [await tx.add(one) for one in rows]


async def test_a_watch_id_is_recorded_once_for_a_viewer(log: WatchLog) -> None:
    assert await add(log, ROW, ROW) == [True, False]
    assert await add(log, replace(ROW, video_id=11), replace(ROW, user_id=OTHER)) == [False, True]
    assert [video async for video in log.totals()] == [(10, 2)]
    assert await log.known(ME, [ROW.watch_id, "b" * 36]) == {ROW.watch_id}
    assert await log.known(3, [ROW.watch_id]) == frozenset()


async def test_a_transaction_that_fails_leaves_nothing(log: WatchLog) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        async with log.begin(Caller(user_id=ME)) as tx:
            await tx.add(ROW)
            raise RuntimeError("stop")
    assert await log.known(ME, [ROW.watch_id]) == frozenset()
    assert list(await log.recent(ME, 10)) == []


async def test_recent_watches_are_newest_first_and_a_viewers_own(log: WatchLog) -> None:
    await add(log, row(1, 10, 100), row(2, 11, 200), row(3, 10, 300), row(4, 13, 50, OTHER))
    recent = await log.recent(ME, 2)
    assert [(entry.video_id, entry.watched_at_ms) for entry in recent] == [(10, 300), (11, 200)]


async def test_all_watches_are_found_once_with_their_viewers(log: WatchLog) -> None:
    await add(log, *(row(i, 10 + i % 3, i, 1 + i % 2) for i in range(1, 2502)))
    found = [(viewer, entry.watched_at_ms) async for page in log.all() for viewer, entry in page]
    assert sorted(found) == sorted((1 + i % 2, i) for i in range(1, 2502))


async def test_all_videos_are_in_the_totals(log: WatchLog) -> None:
    await add(log, *(row(i, 10 + i % 3, i) for i in range(9)))
    assert [total async for total in log.totals()] == [(10, 3), (11, 3), (12, 3)]


async def test_each_recorded_watch_is_noted_as_the_viewers_action(log: WatchLog, uow: UnitOfWork) -> None:
    interactions = SqlInteractionStore(uow.db)
    assert (await interactions.actions(ME)).version == 0
    await add(log, ROW, ROW)
    first = (await interactions.actions(ME)).version
    assert first > 0
    await add(log, ROW)
    assert (await interactions.actions(ME)).version == first
    (recent,) = await interactions.recent(ME, 10)
    assert (recent.video_id, recent.watched_ms, recent.completed, recent.hashtags) == (10, 4000, True, ROW.hashtags)


async def test_a_like_is_kept_by_its_version(uow: UnitOfWork) -> None:
    interactions = SqlInteractionStore(uow.db)
    await interactions.put_like(ME, 10, 100, 0, 2)
    await interactions.put_like(ME, 10, 100, 500, 1)
    assert list(await interactions.recent(ME, 10)) == []
    await interactions.put_like(ME, 10, 100, 700, 3)
    assert [(act.video_id, act.liked, act.at_ms) for act in await interactions.recent(ME, 10)] == [(10, True, 700)]
