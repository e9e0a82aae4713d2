"""What there is: versions, what serves where, and how training goes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio.to_thread

from rank_svc.scorers.layout import Manifest
from rank_svc.scorers.store import ModelRefused
from rank_svc.versions.commands import METRICS, RECENT
from rank_svc.versions.library import VersionLibrary
from rank_svc.versions.store import ALIVE_MS, SWITCHING, Decision, Outcome, ReplicaState, TrainingRun, VersionLog
from svc_kit.clock import Clock, now_ms
from svc_kit.liveness import is_gone


class VersionQueries:
    """Reads the library and the record."""

    def __init__(self, library: VersionLibrary, versions: VersionLog, clock: Clock) -> None:
        self._library = library
        self._versions = versions
        self._clock = clock

    async def overview(self) -> Mapping[str, Any]:
        """All of it, for JSON."""
        decisions = await self._versions.decisions(RECENT)
        replicas = await self.replicas()
        serving, broken = await self._serving()
        previous = next((d.previous for d in decisions if d.outcome in SWITCHING and d.version == serving), "")
        names = await anyio.to_thread.run_sync(self._library.names)
        versions = [await self._version(name, serving, previous, decisions, replicas) for name in names]
        trainings = await self._versions.trainings(5)
        found: dict[str, Any] = {
            "folder": str(self._library.path),
            "serving": serving,
            "previous": previous,
            "versions": versions,
            "replicas": [_replica(state, now_ms(self._clock)) for state in replicas],
            "trainings": [_training(run) for run in trainings],
        }
        return found | ({"refused": broken} if broken else {})

    async def _serving(self) -> tuple[str, str]:
        try:
            return await anyio.to_thread.run_sync(self._library.serving), ""
        except ModelRefused as error:
            return "", str(error)

    async def _version(
        self,
        name: str,
        serving: str,
        previous: str,
        decisions: Sequence[Decision],
        replicas: Sequence[ReplicaState],
    ) -> dict[str, Any]:
        found: dict[str, Any] = {"version": name, "serves": name == serving, "served_before": name == previous}
        try:
            folder, manifest = await anyio.to_thread.run_sync(self._library.read, name)
            found |= await anyio.to_thread.run_sync(_told, folder, manifest)
        except ModelRefused as error:
            found["refused"] = str(error)
        last = next((d for d in decisions if d.version == name), None)
        if last is not None:
            found["decided"] = {"outcome": last.outcome.value, "at": _time(last.at_ms), "reason": last.reason}
            if last.report.get("metrics"):
                found["decided"]["metrics"] = last.report["metrics"]
            if last.outcome in (Outcome.WORSE, Outcome.TOO_LITTLE):
                found.setdefault("refused", f"{last.outcome.value}: {last.reason}")
        refused = next((state.refused for state in replicas if name == serving and state.refused), "")
        if refused:
            found.setdefault("refused", refused)
        return found

    async def replicas(self) -> Sequence[ReplicaState]:
        """Those that said something within the last minute, and whose process is not known to have ended."""
        said = await self._versions.replicas(now_ms(self._clock) - ALIVE_MS)
        return [state for state in said if not is_gone(state.holder)]

    async def last_training(self) -> TrainingRun | None:
        """The newest run."""
        runs = await self._versions.trainings(1)
        return runs[0] if runs else None


def _told(folder: Path, manifest: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = {"created": manifest.created, "kind": manifest.kind, "dimensions": manifest.dimensions}
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        looks = [look["value"] for look in metrics["retrieval"]["held_out_recall@50"]]
        kind = metrics["ranker"]["kind"]
        found["metrics"] = {
            "held_out_recall@50": max(looks, default=None),
            "ranker": kind,
            "ranker_metrics": metrics["ranker"].get(kind, {}),
            "data": {name: value for name, value in metrics["data"].items() if name != "notes"},
        }
    except (OSError, ValueError, KeyError, TypeError):
        # The base version has none, and another trainer's may look as they like.
        pass
    return found


def _replica(state: ReplicaState, now: int) -> dict[str, Any]:
    return asdict(state) | {"seen_s_ago": round((now - state.at_ms) / 1000, 1)}


def _training(run: TrainingRun) -> dict[str, Any]:
    found = {"started": _time(run.started_at_ms), "events": run.events, "ending": run.ending.value}
    return found | {
        name: value
        for name, value in (
            ("ended", _time(run.ended_at_ms) if run.ended_at_ms else ""),
            ("version", run.version),
            ("reason", run.reason),
        )
        if value
    }


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
