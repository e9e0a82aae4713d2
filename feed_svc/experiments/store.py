"""Ports of the experiments, and what they speak of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from svc_kit.unit import Caller, Unit


@dataclass(frozen=True, slots=True)
class Arm:
    """One configuration that is compared."""

    name: str
    weight: float = 1.0
    """Share of the viewers in the experiment, against the other arms'."""
    settings: Mapping[str, float] = field(default_factory=dict)
    """Instead of the feed's settings of these names."""
    source_weights: Mapping[str, float] = field(default_factory=dict)
    value_weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Guardrail:
    """What an arm may not do to its viewers, against the first arm."""

    metric: str
    margin: float
    """How much worse it may be, in the metric's unit."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """Declared by the operator. The first arm is the control."""

    name: str
    arms: tuple[Arm, ...]
    salt: str = ""
    share: float = 1.0
    """Of all viewers; the others are in no arm."""
    metric: str = "watch_minutes"
    window_hours: float = 24.0
    """A viewer counts once, by what they did within this time from their exposure, when it is over."""
    alpha: float = 0.05
    """Chance of finding a difference that is not there, however often one looks."""
    effect: float = 0.2
    """Difference, in standard deviations, at which the test is quickest."""
    guardrails: tuple[Guardrail, ...] = ()


@dataclass(frozen=True, slots=True)
class Exposure:
    """A viewer met an experiment."""

    owner: str
    """`u<id>`, or `c<digest>` of an installation."""
    user_id: int
    """0: logged out."""
    experiment: str
    arm: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Stop:
    """An arm that a guardrail stopped: its viewers get the settings again."""

    experiment: str
    arm: str
    at_ms: int
    reason: str


class ExperimentTx(Unit, Protocol):
    """A write transaction."""

    async def expose(self, exposure: Exposure) -> bool:
        """Note an exposure; false (and nothing changed) when this owner met the experiment already."""
        ...

    async def stop(self, stop: Stop) -> bool:
        """Stop an arm; false (and nothing changed) when it is stopped already."""
        ...


class ExperimentStore(Protocol):
    """Exposures and stopped arms."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[ExperimentTx]:
        """Open a write transaction."""
        ...

    async def stops(self, experiments: Sequence[str]) -> Sequence[Stop]:
        """The stopped arms of these experiments."""
        ...


class EventHistory(Protocol):
    """Events of the past; answered by the domain `analytics`."""

    def since(self, at_ms: int, topics: Sequence[str]) -> AsyncIterator[bytes]:
        """Serialised events that happened at or after `at_ms`, each once. Raises UNAVAILABLE."""
        ...
