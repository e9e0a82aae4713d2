"""What an experiment has shown so far."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from feed_svc.experiments.outcomes import METRICS, Outcome
from feed_svc.experiments.sequential import SequentialTest
from feed_svc.experiments.store import Experiment, Guardrail, Stop


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against the control in one metric. Nothing is claimed where `low` and `high` are None."""

    metric: str
    mean: float
    control_mean: float
    difference: float
    low: float | None
    high: float | None
    p_value: float

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `no difference found`."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "no difference found"
        return "better" if (self.low > 0) == METRICS[self.metric].more_is_better else "worse"


@dataclass(frozen=True, slots=True)
class GuardrailReport:
    """One arm against the control where it may not be worse."""

    comparison: Comparison
    margin: float
    is_broken: bool
    """It is worse by more than the margin, for certain (1 - alpha)."""


@dataclass(frozen=True, slots=True)
class ArmReport:
    """One arm."""

    name: str
    exposures: int
    counted: int
    """Viewers whose window is over."""
    stopped: str
    """Why, when a guardrail stopped it."""
    main: Comparison | None
    """None for the control."""
    guardrails: tuple[GuardrailReport, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All arms, the control first."""

    experiment: str
    metric: str
    alpha: float
    control_mean: float
    arms: tuple[ArmReport, ...]


class Comparing:
    """Sequential tests of every arm and metric of an experiment, fed one viewer after the other."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        control, *others = (arm.name for arm in experiment.arms)
        self._control = control
        # Each arm may err alone, so that all together err as seldom as the operator said.
        alpha = experiment.alpha / len(others)
        metrics = dict.fromkeys((experiment.metric, *(g.metric for g in experiment.guardrails)))
        self._tests = {(o, m): SequentialTest(alpha, experiment.effect) for o in others for m in metrics}
        self._counted: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        """One viewer whose window is over, in the order in which it ended."""
        self._counted[outcome.arm] += 1
        for (other, metric), test in self._tests.items():
            if outcome.arm in (self._control, other):
                test.add(METRICS[metric].of(outcome), is_control=outcome.arm == self._control)

    def report(self, exposures: Mapping[str, int], stops: Iterable[Stop]) -> Report:
        """What is known now."""
        e = self._experiment
        stopped = {stop.arm: stop.reason for stop in stops if stop.experiment == e.name}
        arms = [ArmReport(self._control, exposures.get(self._control, 0), self._counted[self._control], "", None, ())]
        for arm in e.arms[1:]:
            arms.append(
                ArmReport(
                    arm.name,
                    exposures.get(arm.name, 0),
                    self._counted[arm.name],
                    stopped.get(arm.name, ""),
                    self._compared(arm.name, e.metric),
                    tuple(self._guarded(arm.name, guardrail) for guardrail in e.guardrails),
                )
            )
        control_mean = next(iter(self._tests.values())).control.mean
        return Report(e.name, e.metric, e.alpha, control_mean, tuple(arms))

    def _compared(self, arm: str, metric: str) -> Comparison:
        test = self._tests[arm, metric]
        bounded = math.isfinite(test.low) and math.isfinite(test.high)
        return Comparison(
            metric,
            test.other.mean,
            test.control.mean,
            test.difference,
            test.low if bounded else None,
            test.high if bounded else None,
            test.p_value,
        )

    def _guarded(self, arm: str, guardrail: Guardrail) -> GuardrailReport:
        found = self._compared(arm, guardrail.metric)
        broken = False
        if found.low is not None and found.high is not None:
            more_is_better = METRICS[guardrail.metric].more_is_better
            broken = found.high < -guardrail.margin if more_is_better else found.low > guardrail.margin
        return GuardrailReport(found, guardrail.margin, broken)
