"""Letting another version serve: checked whole, copied, compared with the one that serves, then switched at once."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread

from rank_svc.scorers.layout import MANIFEST, MODELS, Manifest, read_manifest
from rank_svc.scorers.store import ModelRefused, Scorer
from rank_svc.train.columns import DatasetError
from rank_svc.train.dataset import Dataset
from rank_svc.versions.holding import holding
from rank_svc.versions.library import VersionLibrary
from rank_svc.versions.shadow import report, shadow
from rank_svc.versions.store import SWITCHING, Decision, Outcome, VersionLog
from rank_svc.versions.vectors import check_vectors
from rank_svc.versions.verdict import Shadow, Verdict, judge
from rank_svc.versions.weights import check_weights
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import unavailable
from svc_kit.leases import Lease
from svc_kit.telemetry import log

METRICS = "metrics.json"
RANKER = "ranker/1/model.onnx"
RECENT = 200
"""Decisions that a rollback looks through."""

Load = Callable[[Path], Awaitable[Scorer]]
"""A version's folder, loaded whole and tried on a few rows. Raises ModelRefused."""
Log = Callable[[], Dataset]
"""The newest log to compare on; blocks. Raises DatasetError when there is none."""

_log = log(__name__)


class VersionCommands:
    """Promotes and rolls back, one at a time over all processes."""

    def __init__(
        self,
        library: VersionLibrary,
        versions: VersionLog,
        load: Load,
        lease: Callable[[], Lease],
        clock: Clock,
        *,
        least_users: int,
        margin: float,
    ) -> None:
        self._library = library
        self._versions = versions
        self._load = load
        self._lease = lease
        self._clock = clock
        self._least_users = least_users
        self._margin = margin

    async def promote(self, asked: str, newest: Log, *, force: bool = False) -> Decision:
        """Let a version serve: a folder that `reelgraph train` wrote, or the name of one that is here. It does when it
        is not worse than the one that serves on `newest`, or with `force`; the decision says. Raises ModelRefused for
        a broken one, with nothing changed, and UNAVAILABLE while somebody else promotes."""
        lease = self._lease()
        async with holding(lease, self._clock) as held:
            _require(held)
            source = await self._source(asked)
            await self.check(source)
            candidate = await anyio.to_thread.run_sync(self._library.put, source)
            serving = await anyio.to_thread.run_sync(self._library.serving)
            if candidate.version == serving:
                return self._decision(serving, serving, Outcome.UNCHANGED, "it is the version that should serve")
            measured = await self._compare(serving, candidate, newest)
            verdict = judge(measured, least_users=self._least_users, margin=self._margin)
            if force and verdict.outcome is not Outcome.PROMOTED:
                verdict = Verdict(Outcome.FORCED, f"{verdict.outcome.value}: {verdict.reason}")
            return await self._decide(lease, candidate.version, serving, verdict, report(measured))

    async def rollback(self, version: str = "") -> Decision:
        """Let the version serve that did before, or one by name. Raises ModelRefused when there is none, or it is
        broken."""
        lease = self._lease()
        async with holding(lease, self._clock) as held:
            _require(held)
            serving = await anyio.to_thread.run_sync(self._library.serving)
            wanted = version or await self._previous(serving)
            if wanted == serving:
                return self._decision(serving, serving, Outcome.UNCHANGED, "it is the version that should serve")
            folder, _ = await anyio.to_thread.run_sync(self._library.read, wanted)
            await self.check(folder)
            reason = "asked for by name" if version else f"it served before {serving}"
            return await self._decide(lease, wanted, serving, Verdict(Outcome.ROLLED_BACK, reason), {})

    async def check(self, folder: Path) -> Manifest:
        """Raise ModelRefused, naming file and reason, unless a version could serve: all files as the manifest says,
        weights that are numbers, vectors and index that belong together, sensible answers to a few rows."""
        manifest = await anyio.to_thread.run_sync(_check_files, folder)
        scorer = await self._load(folder)
        await scorer.unload()
        return manifest

    async def _source(self, asked: str) -> Path:
        path = Path(asked)
        # A name is no path, and a path that is meant to be one must not become a name by a mistake in it.
        if path.name != asked or (path / MANIFEST).is_file():
            return path
        return await anyio.to_thread.run_sync(self._library.folder, asked)

    async def _compare(self, serving: str, candidate: Manifest, newest: Log) -> Shadow:
        folder, _ = await anyio.to_thread.run_sync(self._library.read, candidate.version)
        scorers: list[Scorer] = []
        try:
            against, manifest = await anyio.to_thread.run_sync(self._library.read, serving)
            scorers.append(await self._load(against))
            scorers.append(await self._load(folder))
            dataset = await anyio.to_thread.run_sync(newest)
            until = max(learned_until(against), learned_until(folder))
            same = manifest.files[RANKER] == candidate.files[RANKER]
            return await shadow(dataset, *scorers, learned_until_ms=until, same_ranker=same)
        except DatasetError as error:
            return Shadow(missing=[f"no log to compare on: {error}"])
        except ModelRefused as error:
            if len(scorers) == 1:
                raise
            return Shadow(missing=[f"the version that should serve can't be loaded: {error}"])
        finally:
            for scorer in scorers:
                await scorer.unload()

    async def _previous(self, serving: str) -> str:
        for decision in await self._versions.decisions(RECENT):
            if decision.outcome in SWITCHING and decision.version == serving:
                return decision.previous
        raise ModelRefused(f"nothing is known of a version before {serving}; name the one to go back to")

    async def _decide(
        self, lease: Lease, version: str, previous: str, verdict: Verdict, measured: Mapping[str, Any]
    ) -> Decision:
        decision = self._decision(version, previous, verdict.outcome, verdict.reason, measured)
        # Before the switch: who serves without a record can't be rolled back.
        await self._versions.decide(decision)
        if verdict.outcome in SWITCHING:
            _require(await lease.ensure())
            await anyio.to_thread.run_sync(self._library.point, version)
        _log.info("model decided", version=version, previous=previous, outcome=verdict.outcome.value)
        return decision

    def _decision(
        self, version: str, previous: str, outcome: Outcome, reason: str, measured: Mapping[str, Any] | None = None
    ) -> Decision:
        return Decision(version, previous, outcome, reason, now_ms(self._clock), measured or {})


def _require(held: bool) -> None:
    if not held:
        raise unavailable("Another process promotes a version now; try again when it is done.")


def _check_files(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    for model in MODELS:
        check_weights(folder / model / "1" / "model.onnx")
    check_vectors(folder, manifest)
    return manifest


def learned_until(folder: Path) -> int:
    """The newest row that a version says it has learned from, in milliseconds; 0 where it says nothing."""
    try:
        told = json.loads((folder / METRICS).read_text(encoding="utf-8"))["data"]["newest_ms"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return told if isinstance(told, int) else 0
