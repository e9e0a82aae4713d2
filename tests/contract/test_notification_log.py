"""The contract of `NotificationLog`, for every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from graph_svc.notifications.grouping import first_id
from graph_svc.notifications.store import Fact, NotificationKind, NotificationLog
from graph_svc.notifications.stores import SCHEMES
from graph_svc.notifications.stores.cassandra import TABLES
from svc_kit.backends import resolve
from tests.support.clock import FakeClock
from tests.support.wide import WIDE, wide_store

TODAY = first_id(20_820)
TOMORROW = first_id(20_821)


@pytest.fixture(params=WIDE)
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NotificationLog]:
    async with wide_store(request.param, tmp_path, TABLES) as url:
        opened = await resolve("REELGRAPH_WIDE_URL", url, SCHEMES).open(url, clock=FakeClock(), keep_days=90)
        yield opened
        await opened.close()


def fact(id_: int, *, actor: int = 2, receiver: int = 1, target: str = "v:100") -> Fact:
    return Fact(receiver, TODAY + id_, NotificationKind.LIKE, actor, target, target, 100, 0, 5000)


def ids(facts: object) -> list[int]:
    assert isinstance(facts, list)
    return [f.id - TODAY for f in facts]


async def test_a_fact_is_stored_whole_and_once(log: NotificationLog) -> None:
    one = replace(fact(1), kind=NotificationKind.REPLY, target="c:7", subject="c:8", comment_id=8)
    assert await log.append([one]) == [one]
    assert await log.append([one]) == []
    assert await log.newest(1, 0, 0, 10) == [one]
    assert await log.get(1, [one.id, 4711]) == {one.id: one}
    assert await log.get(2, [one.id]) == {}


async def test_only_the_first_of_a_day_stays_whichever_it_is(log: NotificationLog) -> None:
    assert ids(await log.append([fact(5)])) == [5]
    assert ids(await log.append([fact(3), fact(9), fact(4, actor=3), fact(6, target="v:7")])) == [4, 6]
    next_day = replace(fact(0), id=TOMORROW)
    assert await log.append([next_day]) == [next_day]
    assert len(await log.newest(1, 0, 0, 10)) == 4


async def test_a_skipped_fact_stays_out_and_leaves_its_place_to_another(log: NotificationLog) -> None:
    await log.skip([fact(1)])
    assert await log.append([fact(1)]) == []
    assert ids(await log.append([fact(2)])) == [2]
    await log.skip([fact(1), fact(2)])
    assert await log.append([fact(1), fact(2)]) == []
    assert ids(await log.newest(1, 0, 0, 10)) == [2]


async def test_newest_is_bounded_on_both_sides(log: NotificationLog) -> None:
    await log.append([fact(i, actor=i) for i in (3, 1, 2, 5, 4)])
    assert ids(await log.newest(1, 0, 0, 10)) == [5, 4, 3, 2, 1]
    assert ids(await log.newest(1, TODAY + 5, TODAY + 1, 10)) == [4, 3, 2]
    assert ids(await log.newest(1, 0, 0, 2)) == [5, 4]
    assert ids(await log.newest(2, 0, 0, 2)) == []


async def test_after_follows_the_order_of_arrival_not_of_ids(log: NotificationLog) -> None:
    for i in (3, 7, 5, 9, 1):
        await log.append([fact(i, actor=i)])
    await log.append([fact(8, receiver=2)])
    assert ids(await log.after(1, 0, 10)) == [3, 7, 5, 9, 1]
    assert ids(await log.after(1, TODAY + 7, 2)) == [5, 9]
    assert ids(await log.missed(1, TODAY + 7, 2)) == [9, 1]
    assert ids(await log.after(1, TODAY + 1, 10)) == []
    assert ids(await log.after(1, TODAY + 6, 10)) == [7, 9]
    assert await log.latest(1) == TODAY + 1
    assert await log.latest(4) == 0


async def test_a_batch_may_hold_many_receivers_and_facts(log: NotificationLog) -> None:
    facts = [fact(i, actor=i, receiver=i % 7 + 1) for i in range(1, 300)]
    assert len(await log.append(facts)) == 299
    assert len(await log.append(facts)) == 0
    assert sum([len(await log.newest(receiver, 0, 0, 1000)) for receiver in range(1, 8)]) == 299


async def test_a_skipped_fact_stays_out_though_another_was_skipped_before_it(log: NotificationLog) -> None:
    await log.skip([fact(1), fact(2)])
    assert await log.append([fact(1)]) == []
    assert ids(await log.append([fact(2), fact(3)])) == [3]
    assert ids(await log.newest(1, 0, 0, 10)) == [3]


async def test_facts_of_many_days_are_one_list(log: NotificationLog) -> None:
    first = TODAY - (TOMORROW - TODAY) * 60
    made = [replace(fact(0, actor=i), id=first + i * ((TOMORROW - TODAY) * 3 // 2) + i) for i in range(40)]
    for start in range(0, 40, 10):
        await log.append(made[start : start + 10])
    newest = made[::-1]
    assert await log.newest(1, 0, 0, 100) == newest
    assert await log.newest(1, newest[4].id, newest[30].id, 20) == newest[5:25]
    assert await log.get(1, [one.id for one in made]) == {one.id: one for one in made}
    assert await log.after(1, made[5].id, 100) == made[6:]
    assert await log.missed(1, made[5].id, 3) == made[-3:]
    assert await log.latest(1) == made[-1].id


async def test_two_workers_with_the_same_facts_append_them_once(log: NotificationLog) -> None:
    facts = [fact(i, actor=i) for i in range(1, 40)]
    await asyncio.gather(*(log.append(facts) for _ in range(4)))
    assert ids(await log.newest(1, 0, 0, 100)) == list(range(39, 0, -1))
    assert sorted(ids(await log.after(1, 0, 100))) == list(range(1, 40))
    assert await log.append(facts) == []
