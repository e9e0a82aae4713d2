"""`reelgraph doctor` on models: what runs, how old it is, what was refused and why, and how training goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.doctor_models import model_checks, replica_line, training_line
from launcher.migrate import migrations_of
from rank_svc.versions.store import Ending, ReplicaState, TrainingRun
from rank_svc.versions.stores.sql import SqlVersionLog
from svc_kit.db import connect
from svc_kit.liveness import new_holder
from svc_kit.settings import PlatformSettings
from tests.support.clock import START, FakeClock

NOW = int(START.timestamp() * 1000)
STATE = ReplicaState(new_holder(), "trained-1", "2026-12-29T12:00:00Z", "", 0.998, 1200, 700, NOW - 4000)
RUN = TrainingRun(3, NOW - 7_200_000, 5000, Ending.PROMOTED, NOW - 3_600_000, "trained-1", "promoted: not worse")


def test_a_replica_is_told_with_its_model_its_index_and_their_ages() -> None:
    assert replica_line(STATE, NOW) == (
        "serves trained-1, made 3 d ago; recall 0.998 over 1200 videos; longest wait for a vector: 0.7 s"
    )
    assert replica_line(replace(STATE, embedding_age_ms=-1, created="?"), NOW) == (
        "serves trained-1; recall 0.998 over 1200 videos; longest wait for a vector: nothing changed"
    )


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (replace(STATE, refused="/m/next/version.json: there is no such file"), r"refused: /m/next/version\.json"),
        (replace(STATE, recall=0.5), r"recall 0\.500 .*at least 0\.9"),
    ],
)
def test_a_replica_that_does_not_do_as_it_should_fails(state: ReplicaState, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replica_line(state, NOW)


def test_training_is_told_by_its_last_run() -> None:
    assert training_line(None, NOW, trains=False).startswith("off")
    assert training_line(None, NOW, trains=True) == "on, no run yet"
    assert training_line(RUN, NOW, trains=True) == (
        "on; run 3 of 2027-01-01T10:00+00:00, 5000 watches: promoted trained-1, 1 h ago"
    )
    with pytest.raises(ValueError, match="over budget: it used its 60 s"):
        training_line(replace(RUN, ending=Ending.OVER_BUDGET, version="", reason="it used its 60 s"), NOW, trains=True)


async def test_what_ran_long_ago_or_is_known_to_have_ended_is_not_told_as_running(tmp_path: Path) -> None:
    settings, clock = PlatformSettings(data_dir=tmp_path), FakeClock()
    url = settings.service_db_url("rank")
    await migrations_of("rank").migrate(url)
    nothing = {name: await check() for name, check in (await model_checks(settings, clock)).items()}
    db = connect(url)
    log = SqlVersionLog(db)
    boot, namespace, *_ = STATE.holder.split("/")
    for state in (
        STATE,
        replace(STATE, holder="elsewhere", version="old", at_ms=NOW - 120_000),
        replace(STATE, holder=f"{boot}/{namespace}/1/1#killed", version="killed"),
    ):
        await log.report(state)
    await db.close()
    told = {name: await check() for name, check in (await model_checks(settings, clock)).items()}

    assert nothing["rank replicas"] == "none runs, or none has said anything in the last minute"
    assert set(told) == {"rank replica 1", "training"} and "serves trained-1" in told["rank replica 1"]
