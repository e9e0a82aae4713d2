"""Worker numbers: no two processes issue the same id, and one that lost its number issues none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from svc_kit.db import Database
from svc_kit.errors import AppError, Reason
from svc_kit.ids import IdGenerator
from svc_kit.worker_ids import RANGES, TTL_MS, LeasedIds
from tests.support.clock import FakeClock
from tests.svc_kit.bus.support import database


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with database(tmp_path) as db:
        yield db


def worker_of(id_: int) -> int:
    return id_ >> 12 & 1023


def issue(ids: IdGenerator) -> int:
    """One id; 0 when none is issued."""
    try:
        return ids.next()
    except AppError as error:
        assert error.reason is Reason.UNAVAILABLE
        return 0


async def test_processes_that_start_at_once_have_numbers_of_their_own(db: Database) -> None:
    clock = FakeClock()
    generators = [LeasedIds(db, range(1, 5), clock) for _ in range(4)]
    for ids in generators:
        await ids.acquire()
    assert {worker_of(ids.next()) for ids in generators} == {1, 2, 3, 4}


async def test_when_all_numbers_are_taken_it_says_so(db: Database) -> None:
    clock = FakeClock()
    await LeasedIds(db, range(1, 2), clock).acquire()
    with pytest.raises(AppError, match="1 to 1 are taken") as refused:
        await LeasedIds(db, range(1, 2), clock).acquire()
    assert refused.value.reason is Reason.UNAVAILABLE


async def test_without_a_number_no_id_is_issued(db: Database) -> None:
    assert issue(LeasedIds(db, range(1, 2), FakeClock())) == 0


async def test_a_number_that_is_not_renewed_stops_before_another_process_may_take_it(db: Database) -> None:
    clock = FakeClock()
    frozen, other = (LeasedIds(db, range(1, 2), clock) for _ in range(2))
    await frozen.acquire()
    first = issue(frozen)
    clock.advance(TTL_MS / 1000 * 0.7)
    assert first and issue(frozen) == 0
    with pytest.raises(AppError):
        await other.acquire()
    clock.advance(TTL_MS / 1000 * 0.4)
    await other.acquire()
    assert worker_of(issue(other)) == 1
    with pytest.raises(AppError):
        await frozen.acquire()
    assert issue(frozen) == 0


async def test_a_renewed_number_goes_on_and_ids_grow(db: Database) -> None:
    clock = FakeClock()
    ids = LeasedIds(db, range(7, 9), clock)
    await ids.acquire()
    issued = [issue(ids)]
    for _ in range(5):
        clock.advance(TTL_MS / 1000 * 0.5)
        await ids.acquire()
        issued.append(issue(ids))
    assert issued == sorted(set(issued)) and 0 not in issued
    assert len({worker_of(one) for one in issued}) == 1


async def test_a_number_given_back_is_free_at_once(db: Database) -> None:
    clock = FakeClock()
    one, two = (LeasedIds(db, range(1, 2), clock) for _ in range(2))
    await one.acquire()
    await one.release()
    await two.acquire()
    assert issue(one) == 0 and issue(two)


def test_services_lease_from_ranges_of_their_own_and_none_leases_the_embedded_zero() -> None:
    numbers = [number for numbers in RANGES.values() for number in numbers]
    assert len(numbers) == len(set(numbers))
    assert min(numbers) > 0 and max(numbers) < 1024
