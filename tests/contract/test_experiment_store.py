"""The contract of the experiments' store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from feed_svc.experiments.store import Exposure, Stop
from feed_svc.experiments.stores.sql import SqlExperimentStore
from feed_svc.schema import metadata, outbox, replies
from svc_kit.caller import Caller
from svc_kit.db import again_on_conflict
from svc_kit.ids import IdGenerator
from svc_kit.uow import UnitOfWork
from tests.support.clock import FakeClock
from tests.support.databases import DATABASES, opened_database
from tests.support.shards import sharded_statements

__all__ = ["sharded_statements"]


@pytest.fixture(params=DATABASES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlExperimentStore]:
    clock = FakeClock()
    async with opened_database(request.param, tmp_path, metadata) as db:
        yield SqlExperimentStore(UnitOfWork(db, outbox, replies, IdGenerator(clock), clock))


async def expose(store: SqlExperimentStore, *exposures: Exposure) -> list[bool]:
    """Each in turn, in one transaction."""

    async def once() -> list[bool]:
        async with store.begin(Caller(is_service=True)) as tx:
            return [await tx.expose(exposure) for exposure in exposures]

    return await again_on_conflict(once)


async def test_an_owner_meets_an_experiment_once_and_the_first_arm_stays(store: SqlExperimentStore) -> None:
    met = Exposure("u1", 1, "x", "a", 1000)
    assert await expose(store, met, met) == [True, False]
    assert await expose(store, Exposure("u1", 1, "x", "b", 2000)) == [False]
    assert await expose(store, Exposure("u1", 1, "y", "a", 1), Exposure("c0", 0, "x", "b", 1)) == [True, True]


async def test_of_many_who_tell_at_once_one_is_believed(store: SqlExperimentStore) -> None:
    met = Exposure("u1", 1, "x", "a", 1000)
    found = await asyncio.gather(*(expose(store, met) for _ in range(6)))
    assert sorted(found) == [[False]] * 5 + [[True]]


async def test_an_arm_is_stopped_once_and_the_first_reason_stays(store: SqlExperimentStore) -> None:
    for reason, expected in (("skips " * 100, True), ("another", False)):
        async with store.begin(Caller(is_service=True)) as tx:
            assert await tx.stop(Stop("x", "b", 5, reason)) is expected
    async with store.begin(Caller(is_service=True)) as tx:
        await tx.stop(Stop("y", "b", 6, "why"))
    (stop,) = await store.stops(["x"])
    assert (stop.arm, stop.at_ms, stop.reason) == ("b", 5, ("skips " * 100)[:255])
    assert [s.experiment for s in await store.stops(["x", "y", "z"])] == ["x", "y"]
    assert await store.stops([]) == []
