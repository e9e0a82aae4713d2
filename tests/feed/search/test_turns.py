"""Whose turn it is to write the index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from feed_svc.schema import metadata
from feed_svc.search.turns import TTL_MS, LeasedTurn
from svc_kit.db import Database, connect
from svc_kit.errors import AppError, Reason
from tests.support.clock import FakeClock


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = connect(f"sqlite:///{tmp_path / 'feed.db'}")
    async with opened.write() as connection:
        await connection.run_sync(metadata.create_all)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_one_process_has_the_turn_and_gives_it_back(db: Database, clock: FakeClock) -> None:
    one, other = LeasedTurn(db, clock, wait_s=0), LeasedTurn(db, clock, wait_s=0)

    async with one():
        with pytest.raises(AppError) as refused:
            async with other():
                pass
    async with other():
        pass

    assert refused.value.reason is Reason.UNAVAILABLE and refused.value.retry_after_ms


async def test_within_a_process_any_number_have_it_together(db: Database, clock: FakeClock) -> None:
    one, other = LeasedTurn(db, clock, wait_s=0), LeasedTurn(db, clock, wait_s=0)

    async with one():
        async with one():
            pass
        with pytest.raises(AppError):
            async with other():
                pass


async def test_a_long_turn_is_renewed(db: Database, clock: FakeClock) -> None:
    one, other = LeasedTurn(db, clock, wait_s=0), LeasedTurn(db, clock, wait_s=0)

    async with one():
        for _ in range(10):
            clock.advance(TTL_MS / 4000)
            while not clock.sleepers:
                await asyncio.sleep(0.001)
        with pytest.raises(AppError):
            async with other():
                pass


async def test_an_error_inside_gives_the_turn_back(db: Database, clock: FakeClock) -> None:
    one, other = LeasedTurn(db, clock, wait_s=0), LeasedTurn(db, clock, wait_s=0)

    with pytest.raises(RuntimeError):
        async with one():
            raise RuntimeError

    async with other():
        pass
