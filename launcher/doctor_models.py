"""What `reelgraph doctor` says of models: running replicas, as they said themselves in the database, and training."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial

import anyio

from rank_svc.retrieval.ages import made_ms
from rank_svc.retrieval.probe import LEAST_RECALL
from rank_svc.settings import RankSettings
from rank_svc.versions.queries import VersionQueries
from rank_svc.versions.store import Ending, ReplicaState, TrainingRun
from rank_svc.versions.wiring import open_versions
from svc_kit.clock import Clock, SystemClock, now_ms
from svc_kit.db import connect
from svc_kit.settings import PlatformSettings

Check = Callable[[], Awaitable[str]]
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


async def model_checks(settings: PlatformSettings, clock: Clock | None = None) -> Mapping[str, Check]:
    """A check for each running replica and one for training, by name. Raises UNAVAILABLE without the database."""
    clock = clock or SystemClock()
    rank, db = RankSettings(), connect(settings.service_db_url("rank"))
    try:
        queries = open_versions(settings, rank, db, clock, anyio.CapacityLimiter(1)).queries
        return await _checks(queries, now_ms(clock), trains=bool(rank.train_every_hours or rank.train_events))
    finally:
        await db.close()


async def _checks(queries: VersionQueries, now: int, *, trains: bool) -> Mapping[str, Check]:
    states, run = await queries.replicas(), await queries.last_training()
    found = {f"rank replica {i}": _told(partial(replica_line, state, now)) for i, state in enumerate(states, 1)}
    if not states:
        found["rank replicas"] = _told(lambda: "none runs, or none has said anything in the last minute")
    return found | {"training": _told(lambda: training_line(run, now, trains=trains))}


def _told(line: Callable[[], str]) -> Check:
    async def check() -> str:
        return line()

    return check


def replica_line(state: ReplicaState, now: int) -> str:
    """What a replica serves. Raises ValueError when that is not what it should."""
    made = made_ms(state.created)
    age = f", made {_ago(now - made)} ago" if made is not None else ""
    waited = f"{state.embedding_age_ms / 1000:.1f} s" if state.embedding_age_ms >= 0 else "nothing changed"
    line = (
        f"serves {state.version}{age}; recall {state.recall:.3f} over {state.videos} videos; "
        f"longest wait for a vector: {waited}"
    )
    if state.refused:
        raise ValueError(f"{line}; refused: {state.refused}")
    if state.recall < LEAST_RECALL:
        raise ValueError(f"{line}; at least {LEAST_RECALL} is expected: see docs/ranking.md")
    return line


def training_line(run: TrainingRun | None, now: int, *, trains: bool) -> str:
    """How the last run went. Raises ValueError when it failed."""
    if run is None:
        return "on, no run yet" if trains else "off (REELGRAPH_RANK_TRAIN_EVERY_HOURS)"
    at = datetime.fromtimestamp(run.started_at_ms / 1000, UTC).isoformat(timespec="minutes")
    line = f"{'on' if trains else 'off'}; run {run.number} of {at}, {run.events} watches: {run.ending.value}"
    line += f" {run.version}" if run.version else ""
    if run.ending in (Ending.FAILED, Ending.OVER_BUDGET):
        raise ValueError(f"{line}: {run.reason}")
    return f"{line}, {_ago(now - run.ended_at_ms)} ago" if run.ended_at_ms else line


def _ago(ms: int) -> str:
    seconds = max(ms, 0) // 1000
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
