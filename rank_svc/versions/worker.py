"""Continuous training: one process over all trains on the log, by time and by number of watches."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from prometheus_client import Counter, Gauge

from rank_svc.settings import RankSettings
from rank_svc.versions.budgeted import Budget, Ended, run_child
from rank_svc.versions.holding import holding
from rank_svc.versions.library import VersionLibrary
from rank_svc.versions.store import ALIVE_MS, SWITCHING, Ending, Outcome, TrainingRun, VersionLog
from rank_svc.versions.training_job import Request
from svc_kit.clock import Clock, now_ms
from svc_kit.leases import Lease
from svc_kit.telemetry import log

LOOK_S = 60.0
TOLD_S = 30.0
"""Progress is logged at most this often."""
ENDING_S = 2.0
"""For writing down that a run was cancelled; the process is ending."""
COMMAND = (sys.executable, "-m", "rank_svc.versions.training_job")
NEEDED = ("torch", "onnx", "lightgbm", "scipy")
"""Modules of the extra `train`."""

_PROGRESS = Gauge("reelgraph_rank_train_progress", "Share of the running training step that is done; 0 when none runs")
_RUNS = Counter("reelgraph_rank_train_runs_total", "Training runs that ended", ["ending"])
_log = log(__name__)


class ContinuousTraining:
    """Looks every minute whether it is time, and trains in a child process with a budget."""

    def __init__(
        self,
        versions: VersionLog,
        library: VersionLibrary,
        request: Request,
        lease: Callable[[], Lease],
        watched: Callable[[], Awaitable[int]],
        clock: Clock,
        *,
        missing: str = "",
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        """`watched`: how many watches there were, ever. `missing`: what is not installed."""
        self._versions = versions
        self._library = library
        self._request = request
        self._settings: RankSettings = request.settings
        self._lease = lease
        self._watched = watched
        self._clock = clock
        self._missing = missing
        self._command = command
        self._told_at = float("-inf")
        self._done: dict[str, str] = {}

    async def step(self) -> bool:
        """Train if it is time and nobody else does; whether a run was made."""
        if await self._is_due() is None:
            return False
        lease = self._lease()
        async with holding(lease, self._clock) as held:
            if not held:
                return False
            # Somebody else may have trained since.
            events = await self._is_due()
            if events is None:
                return False
            await self._train(events)
        return True

    async def _is_due(self) -> int | None:
        """The number of watches so far, when it is time."""
        watched, s = await self._watched(), self._settings
        runs = await self._versions.trainings(1)
        if not runs:
            return watched if watched >= max(s.train_events, 1) else None
        last = runs[0]
        if last.ending in (Ending.RUNNING, Ending.CANCELLED):
            return watched
        hours = (now_ms(self._clock) - last.started_at_ms) / 3_600_000
        by_time = 0 < s.train_every_hours <= hours and watched > last.events
        by_number = 0 < s.train_events <= watched - last.events
        return watched if by_time or by_number else None

    async def _train(self, events: int) -> None:
        run = TrainingRun(0, now_ms(self._clock), events)
        run = replace(run, number=await self._versions.begin_training(run.started_at_ms, events))
        if self._missing:
            why = f"{self._missing} is not installed; pip install 'reelgraph[train]'"
            _log.error("training is on and can't be done", reason=why)
            await self._end(run, Ending.FAILED, why)
            return
        try:
            request = await anyio.to_thread.run_sync(self._prepare, run)
            _log.info("training begins", run=run.number, events=events, seed=request.seed)
            self._done = {}
            given = request.model_dump_json().encode()
            ended = await run_child(self._command, given, self._budget(), self._on_line)
        except BaseException:
            # What is done so far stays in its folder, and the next run goes on with it.
            with anyio.move_on_after(ENDING_S, shield=True):
                await self._end(run, Ending.CANCELLED, "the process ended, or could not go on")
            raise
        finally:
            _PROGRESS.set(0)
        await self._finish(run, ended)

    def _budget(self) -> Budget:
        s = self._settings
        return Budget(s.train_cpu_s, s.train_memory_mb << 20, s.train_wall_s)

    def _prepare(self, run: TrainingRun) -> Request:
        """The folder of the run: of one that was broken off with the same settings, or a new one."""
        work = Path(self._request.work)
        kept = work / "request.json"
        same = _digest(self._request)
        try:
            before = json.loads(kept.read_text(encoding="utf-8"))
            if before["of"] == same:
                return self._request.model_copy(update={"seed": int(before["seed"])})
        except (OSError, ValueError, KeyError, TypeError):
            pass
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        kept.write_text(json.dumps({"of": same, "seed": run.number}), encoding="utf-8")
        return self._request.model_copy(update={"seed": run.number})

    def _on_line(self, line: str) -> None:
        try:
            told: dict[str, Any] = json.loads(line)
        except ValueError:
            return
        if "done" in told:
            self._done = told["done"]
            return
        step, steps = told.get("step", 0), max(told.get("steps", 1), 1)
        _PROGRESS.set(step / steps)
        now = self._clock.monotonic()
        if now - self._told_at >= TOLD_S or step == 0:
            self._told_at = now
            _log.info("training", stage=told.get("stage"), step=step, steps=steps, state=told.get("text", ""))

    async def _finish(self, run: TrainingRun, ended: Ended) -> None:
        over = ended.over(self._budget())
        if self._done:
            outcome, version = Outcome(self._done["outcome"]), self._done["version"]
            ending = Ending.PROMOTED if outcome in SWITCHING else Ending.NOT_PROMOTED
            await self._end(run, ending, f"{outcome.value}: {self._done['reason']}", version)
            await self._prune()
        elif over:
            await self._end(run, Ending.OVER_BUDGET, over)
        else:
            await self._end(run, Ending.FAILED, ended.tail or f"it ended with {ended.code} and said nothing")
        await anyio.to_thread.run_sync(lambda: shutil.rmtree(self._request.work, ignore_errors=True))

    async def _end(self, run: TrainingRun, ending: Ending, reason: str, version: str = "") -> None:
        ended = replace(run, ending=ending, ended_at_ms=now_ms(self._clock), version=version, reason=reason)
        await self._versions.end_training(ended)
        _RUNS.labels(ending.value).inc()
        _log.info("training ended", run=run.number, ending=ending.value, version=version, reason=reason[:300])

    async def _prune(self) -> None:
        """Old versions go; those that serve somewhere, or did before, stay."""
        decided = await self._versions.decisions(50)
        serving = await anyio.to_thread.run_sync(self._library.serving)
        used = {d.previous for d in decided if d.outcome in SWITCHING and d.version == serving}
        used |= {state.version for state in await self._versions.replicas(now_ms(self._clock) - ALIVE_MS)}
        gone = await anyio.to_thread.run_sync(lambda: self._library.prune(self._settings.versions_kept, used))
        if gone:
            _log.info("old models removed", versions=gone)


def _digest(request: Request) -> str:
    """Of all that a run is made of; a digest, because URLs have passwords in them."""
    return hashlib.sha256(request.model_dump_json(exclude={"seed"}).encode()).hexdigest()
