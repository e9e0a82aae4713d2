"""Ids: growing, never twice, spread over what they are sorted into."""

from __future__ import annotations

import pytest

from svc_kit.cache import bucket
from svc_kit.clock import now_ms
from svc_kit.errors import AppError
from svc_kit.ids import IdGenerator, created_ms
from tests.support.clock import FakeClock


def test_ids_grow_however_many_are_issued_in_a_millisecond() -> None:
    clock = FakeClock()
    ids = IdGenerator(clock, worker=1023)
    issued = []
    for burst in (1, 5000, 1, 3, 9000, 2):
        issued += [ids.next() for _ in range(burst)]
        clock.advance(0.001)
    assert issued == sorted(set(issued))
    assert {number >> 12 & 1023 for number in issued} == {1023}


def test_the_time_of_an_id_is_when_it_was_issued() -> None:
    clock = FakeClock()
    ids = IdGenerator(clock)
    for _ in range(3):
        clock.advance(12.5)
        assert created_ms(ids.next()) == now_ms(clock)


def test_ids_issued_alone_in_their_millisecond_fall_into_all_buckets() -> None:
    clock = FakeClock()
    ids = IdGenerator(clock)
    found = set()
    for _ in range(1024):
        clock.advance(0.002)
        found.add(bucket(ids.next()))
    assert len(found) == 1024


def test_a_clock_that_went_back_stops_them() -> None:
    clock = FakeClock()
    ids = IdGenerator(clock)
    clock.advance(60)
    before = ids.next()
    clock.advance(-0.5)
    assert ids.next() > before
    clock.advance(-2)
    with pytest.raises(AppError):
        ids.next()
