"""Continuous training: on time, one at a time, within its budget, and never half a version."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client import REGISTRY

from rank_svc.schema import metadata
from rank_svc.scorers import wiring as scorers_wiring
from rank_svc.settings import RankSettings
from rank_svc.versions import wiring
from rank_svc.versions.store import Decision, Ending, Outcome, TrainingRun
from rank_svc.versions.training_job import Request
from rank_svc.versions.wiring import TRAINING, Versions, lease, open_versions
from rank_svc.versions.worker import COMMAND, ContinuousTraining
from svc_kit.db import Database
from svc_kit.settings import PlatformSettings
from tests.rank.train.conftest import world
from tests.support.archives import write_archive
from tests.support.clock import FakeClock
from tests.support.databases import opened_database
from tests.support.versions import make_version

DAY_S = 86_400.0
READ = "import json, os, pathlib, sys, time; given = json.loads(sys.stdin.read()); work = pathlib.Path(given['work'])\n"


def says(outcome: str) -> str:
    done = json.dumps({"done": {"version": "v", "outcome": outcome, "reason": "so"}})
    return f"print({done!r})"


@dataclass
class Trainer:
    """A worker whose training is a small program."""

    versions: Versions
    db: Database
    clock: FakeClock
    folder: Path
    settings: dict[str, Any] = field(default_factory=lambda: {"train_every_hours": 24})
    watched: int = 10

    def worker(self, program: str = says("promoted"), *, missing: str = "") -> ContinuousTraining:
        settings = RankSettings(**{"train_cpu_s": 60, "train_memory_mb": 1024, "train_wall_s": 120} | self.settings)
        work, data_dir = str(self.folder / "training"), str(self.folder)
        request = Request(
            work=work, archive="a", database="d", data_dir=data_dir, models_url="", settings=settings, seed=0
        )

        async def watched() -> int:
            return self.watched

        log, library = self.versions.log, self.versions.library
        own_lease = partial(lease, self.db, TRAINING, self.clock)
        command = (sys.executable, "-c", READ + program)
        return ContinuousTraining(
            *(log, library, request, own_lease, watched, self.clock), missing=missing, command=command
        )

    async def last(self) -> TrainingRun:
        return (await self.versions.log.trainings(1))[0]


@pytest.fixture
async def trainer(tmp_path: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Trainer]:
    for module in (wiring, scorers_wiring):
        monkeypatch.setattr(module, "PACKAGED", base_model)
    clock, settings = FakeClock(), PlatformSettings(data_dir=tmp_path)
    async with opened_database("sqlite", tmp_path, metadata) as db:
        versions = open_versions(settings, RankSettings(), db, clock, anyio.CapacityLimiter(1))
        yield Trainer(versions, db, clock, tmp_path)


async def test_it_trains_at_the_first_watches_and_then_by_the_hour(trainer: Trainer) -> None:
    worker = trainer.worker()
    trainer.watched = 0
    nobody = await worker.step()
    trainer.watched = 10
    first, again = await worker.step(), await worker.step()
    trainer.clock.advance(DAY_S)
    unchanged = await worker.step()
    trainer.watched = 11
    next_day = await worker.step()

    assert (nobody, first, again, unchanged, next_day) == (False, True, False, False, True)
    assert [(r.number, r.events) for r in await trainer.versions.log.trainings(5)] == [(2, 11), (1, 10)]


async def test_it_trains_by_the_number_of_watches(trainer: Trainer) -> None:
    trainer.settings = {"train_events": 100}
    worker, made = trainer.worker(), []
    for watched in (99, 100, 199, 200):
        trainer.watched = watched
        made.append(await worker.step())

    assert made == [False, True, False, True]


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [("promoted", Ending.PROMOTED), ("worse", Ending.NOT_PROMOTED), ("too little data", Ending.NOT_PROMOTED)],
)
async def test_what_came_of_a_run_is_kept(trainer: Trainer, outcome: str, ending: Ending) -> None:
    await trainer.worker(says(outcome)).step()

    last = await trainer.last()
    assert (last.ending, last.version, last.reason) == (ending, "v", f"{outcome}: so")
    assert last.ended_at_ms >= last.started_at_ms > 0
    assert not (trainer.folder / "training").exists()
    overview = await trainer.versions.queries.overview()
    assert overview["trainings"][0]["ending"] == ending.value


BURN = "\nwhile True: pass"
BUDGETS: dict[str, tuple[str, dict[str, Any], str]] = {
    "processor": (BURN, {"train_cpu_s": 1}, "used its 1 s of processor time"),
    "clock": ("time.sleep(600)", {"train_wall_s": 1.0}, "not done after 1 s by the clock"),
    "memory": (
        "\ntry: bytearray(1 << 30)\nexcept MemoryError: sys.exit(77)",
        {"train_memory_mb": 256},
        "needs more than its 256 MiB",
    ),
}


@pytest.mark.parametrize("what", BUDGETS)
async def test_a_run_over_its_budget_is_ended_and_says_so(trainer: Trainer, what: str) -> None:
    program, limits, reason = BUDGETS[what]
    trainer.settings |= limits
    await trainer.worker(program).step()

    last = await trainer.last()
    assert last.ending is Ending.OVER_BUDGET and reason in last.reason


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("sys.exit('archive: nobody has watched anything in it')", "nobody has watched anything"),
        ("os._exit(9)", "ended with 9"),
        ("print('no JSON')\nprint('{}')\nos.abort()", "ended with -6"),
    ],
)
async def test_a_run_that_fails_is_over_and_tells_why(trainer: Trainer, program: str, reason: str) -> None:
    await trainer.worker(program).step()

    last = await trainer.last()
    assert last.ending is Ending.FAILED and reason in last.reason
    assert not await trainer.worker(program).step()


async def test_a_run_that_is_broken_off_ends_with_its_child_and_the_next_one_goes_on_with_its_work(
    trainer: Trainer,
) -> None:
    # Renamed when it is whole: the run is broken off as soon as the file is there.
    slow = (
        "(work / 'pid').write_text(str(os.getpid()))\n(work / 'new').write_text(str(given['seed']))\n"
        "(work / 'new').rename(work / 'half')\ntime.sleep(600)"
    )
    task = asyncio.create_task(trainer.worker(slow).step())
    half = trainer.folder / "training" / "half"
    while not half.exists():
        assert not task.done(), task.exception()
        await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    cancelled, pid = await trainer.last(), int((half.parent / "pid").read_text())

    goes_on = "assert (work / 'half').read_text() == str(given['seed']); " + says("promoted")
    made = await trainer.worker(goes_on).step()

    assert (cancelled.ending, made, (await trainer.last()).ending) == (Ending.CANCELLED, True, Ending.PROMOTED)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_other_settings_do_not_go_on_with_the_work_of_former_ones(trainer: Trainer) -> None:
    work = trainer.folder / "training"
    work.mkdir()
    (work / "request.json").write_text(json.dumps({"of": "others", "seed": 7}))
    (work / "log").mkdir()
    await trainer.worker("assert not (work / 'log').exists() and given['seed'] == 1; " + says("promoted")).step()

    assert (await trainer.last()).ending is Ending.PROMOTED


async def test_of_all_processes_one_trains(trainer: Trainer) -> None:
    other = lease(trainer.db, TRAINING, trainer.clock)
    assert await other.acquire()
    held = await trainer.worker().step()
    await other.release()

    assert (held, await trainer.worker().step()) == (False, True)
    assert len(await trainer.versions.log.trainings(5)) == 1


async def test_without_the_extra_it_says_what_to_install(trainer: Trainer) -> None:
    await trainer.worker(missing="torch").step()

    last = await trainer.last()
    assert last.ending is Ending.FAILED and "pip install 'reelgraph[train]'" in last.reason


async def test_progress_is_a_metric_while_it_trains(trainer: Trainer) -> None:
    program = f"print(json.dumps(dict(stage='towers', step=3, steps=4)), flush=True)\n{says('promoted')}"
    seen: list[float | None] = []
    worker = trainer.worker(program)
    on_line = worker._on_line

    def watched(line: str) -> None:
        on_line(line)
        seen.append(REGISTRY.get_sample_value("reelgraph_rank_train_progress"))

    worker._on_line = watched  # type: ignore[method-assign]
    await worker.step()

    assert seen == [0.75, 0.75]
    assert REGISTRY.get_sample_value("reelgraph_rank_train_progress") == 0


async def test_after_a_run_old_versions_go_but_not_those_that_serve_or_did_before(
    trainer: Trainer, base_model: Path
) -> None:
    library = trainer.versions.library
    for name in ("old", "before", "now"):
        library.put(make_version(trainer.folder / "made", base_model, name))
    library.point("now")
    await trainer.versions.log.decide(Decision("now", "before", Outcome.PROMOTED, "", 1))
    trainer.settings |= {"versions_kept": 0}
    await trainer.worker().step()

    assert library.names() == ["before", "now"]


async def test_a_version_is_trained_on_the_archive_and_compared(trainer: Trainer) -> None:
    for module in ("torch", "onnx", "lightgbm", "scipy"):
        pytest.importorskip(module, reason=f"{module} is in the extra `train`")
    write_archive(trainer.folder / "archive", world()["interactions"])
    options = "width=16,bag=8,linear=4,members=1,feed_forward=16,steps=60,tokens=256,negatives=30,rate=0.02,warm=5"
    settings = RankSettings(
        train_every_hours=24, train_options=options, promote_least_users=10, train_cpu_s=300, train_memory_mb=8192
    )
    request = Request(
        work=str(trainer.folder / "training"),
        archive=(trainer.folder / "archive").as_uri(),
        database=str(trainer.db.engine.url).replace("sqlite+aiosqlite", "sqlite"),
        data_dir=str(trainer.folder),
        models_url="",
        settings=settings,
        seed=0,
    )

    async def watched() -> int:
        return 720

    worker = ContinuousTraining(
        trainer.versions.log,
        trainer.versions.library,
        request,
        lambda: lease(trainer.db, TRAINING, trainer.clock),
        watched,
        trainer.clock,
        command=COMMAND,
    )
    await worker.step()

    last = await trainer.last()
    assert last.ending in (Ending.PROMOTED, Ending.NOT_PROMOTED), last
    assert last.version.startswith("trained-1-")
    (decision,) = await trainer.versions.log.decisions(1)
    assert decision.version == last.version and decision.report["metrics"]["recall@50"]["users"] >= 10
    assert last.version in trainer.versions.library.names()
    if decision.outcome is Outcome.PROMOTED:
        assert trainer.versions.library.serving() == last.version
    assert (trainer.folder / "models" / last.version / "metrics.json").exists()
