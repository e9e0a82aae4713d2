"""The port of the record of versions. Its adapter passes `tests/contract/test_version_log.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

REASON_CHARS = 1000
"""What is longer is cut."""


ALIVE_MS = 60_000
"""A replica that said nothing for longer is not running, or has no database."""


class Outcome(StrEnum):
    """What was decided of a version."""

    PROMOTED = "promoted"
    FORCED = "forced"
    """Promoted against, or without, the evaluation."""
    ROLLED_BACK = "rolled back"
    """It serves again."""
    WORSE = "worse"
    TOO_LITTLE = "too little data"
    UNCHANGED = "serves already"


SWITCHING = frozenset({Outcome.PROMOTED, Outcome.FORCED, Outcome.ROLLED_BACK})
"""After these the version should serve."""


class Ending(StrEnum):
    """How a training run ended."""

    RUNNING = "running"
    """Not yet; or the process was killed, and the next run goes on where it was."""
    PROMOTED = "promoted"
    NOT_PROMOTED = "not promoted"
    FAILED = "failed"
    OVER_BUDGET = "over budget"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of a version, and on what grounds."""

    version: str
    previous: str
    """What served at that moment."""
    outcome: Outcome
    reason: str
    at_ms: int
    report: Mapping[str, Any] = field(default_factory=dict)
    """The shadow evaluation, JSON."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One run of the training worker."""

    number: int
    """From 1."""
    started_at_ms: int
    events: int
    """Watches that there were at its start, ever."""
    ending: Ending = Ending.RUNNING
    ended_at_ms: int = 0
    version: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """What one replica said of itself last."""

    holder: str
    """Names its process."""
    version: str
    """What it serves."""
    created: str
    """Of that version, RFC 3339."""
    refused: str
    """Why it does not serve the version that should; empty when it does."""
    recall: float
    """Of its index against exact search, as last measured; 1 before."""
    videos: int
    """Vectors in its index."""
    embedding_age_ms: int
    """The longest that a change lately waited for its vector; -1 when nothing changed."""
    at_ms: int


class VersionLog(Protocol):
    """Decisions, training runs and replicas. All raise UNAVAILABLE when the database can't answer."""

    async def decide(self, decision: Decision) -> None:
        """Append a decision."""
        ...

    async def decisions(self, limit: int) -> Sequence[Decision]:
        """Newest first."""
        ...

    async def begin_training(self, started_at_ms: int, events: int) -> int:
        """Append a run; returns its number."""
        ...

    async def end_training(self, run: TrainingRun) -> None:
        """Say how the run of this number ended; an unknown one is ignored."""
        ...

    async def trainings(self, limit: int) -> Sequence[TrainingRun]:
        """Newest first."""
        ...

    async def report(self, state: ReplicaState) -> None:
        """Keep the newest state of a replica."""
        ...

    async def replicas(self, since_ms: int) -> Sequence[ReplicaState]:
        """Those that reported at `since_ms` or later, by holder."""
        ...

    async def forget_replicas(self, before_ms: int) -> int:
        """Remove those that reported last before; returns how many."""
        ...
