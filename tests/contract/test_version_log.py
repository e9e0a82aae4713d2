"""The contract of `rank_svc.versions.store.VersionLog`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from rank_svc.schema import metadata
from rank_svc.versions.store import REASON_CHARS, Decision, Ending, Outcome, ReplicaState, TrainingRun
from rank_svc.versions.stores.sql import SqlVersionLog
from tests.support.databases import DATABASES, opened_database
from tests.support.shards import sharded_statements

__all__ = ["sharded_statements"]

NOW = 1_800_000_000_000
STATE = ReplicaState("a/b/1/2#c", "v1", "2027-01-01T00:00:00Z", "", 0.995, 1200, -1, NOW)


@pytest.fixture(params=DATABASES)
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlVersionLog]:
    async with opened_database(request.param, tmp_path, metadata) as db:
        yield SqlVersionLog(db)


async def test_decisions_are_read_newest_first_as_they_were_made(log: SqlVersionLog) -> None:
    worse = Decision("v2", "v1", Outcome.WORSE, "recall@50 −0.1", NOW, {"metrics": {"recall@50": {"users": 7}}})
    forced = Decision("v2", "v1", Outcome.FORCED, "日本", NOW + 1)
    await log.decide(worse)
    await log.decide(forced)

    assert await log.decisions(10) == [forced, worse]
    assert await log.decisions(1) == [forced]


async def test_decisions_made_at_once_are_all_kept(log: SqlVersionLog) -> None:
    made = [Decision(f"v{i}", "", Outcome.PROMOTED, "", NOW) for i in range(5)]
    await asyncio.gather(*map(log.decide, made))

    assert {d.version for d in await log.decisions(10)} == {f"v{i}" for i in range(5)}


async def test_a_reason_of_any_length_is_kept_as_far_as_it_fits(log: SqlVersionLog) -> None:
    await log.decide(Decision("v", "", Outcome.WORSE, "é" * 5000, NOW))
    number = await log.begin_training(NOW, 1)
    await log.end_training(TrainingRun(number, NOW, 1, Ending.FAILED, NOW + 1, reason="é" * 5000))
    await log.report(replace(STATE, refused="é" * 5000))

    reasons = [
        (await log.decisions(1))[0].reason,
        (await log.trainings(1))[0].reason,
        (await log.replicas(0))[0].refused,
    ]
    assert reasons == ["é" * REASON_CHARS] * 3


async def test_a_training_run_goes_on_until_it_is_ended(log: SqlVersionLog) -> None:
    first = await log.begin_training(NOW, 2**40)
    second = await log.begin_training(NOW + 5, 2**40 + 1)
    ended = TrainingRun(first, NOW, 2**40, Ending.PROMOTED, NOW + 9, "v2", "not worse")
    await log.end_training(ended)
    await log.end_training(replace(ended, number=99))

    assert (first, second) == (1, 2)
    assert await log.trainings(10) == [TrainingRun(2, NOW + 5, 2**40 + 1), ended]


async def test_a_replica_is_known_by_its_newest_state_until_it_is_forgotten(log: SqlVersionLog) -> None:
    other = replace(STATE, holder="other", at_ms=NOW - 100)
    await log.report(STATE)
    await log.report(other)
    newest = replace(STATE, version="v2", refused="v3: no such file", recall=0.5, embedding_age_ms=700, at_ms=NOW + 5)
    await log.report(newest)

    assert await log.replicas(0) == [newest, other]
    assert await log.replicas(NOW) == [newest]
    assert await log.forget_replicas(NOW) == 1
    assert await log.replicas(0) == [newest]
