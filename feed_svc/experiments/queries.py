"""Reads of the experiments: a viewer's configuration, on the feed's path, and what an experiment has shown."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence

from feed_svc.experiments.assignment import arm_of
from feed_svc.experiments.declared import tuned
from feed_svc.experiments.outcomes import TOPICS, Outcomes
from feed_svc.experiments.report import Comparing, Report
from feed_svc.experiments.store import Arm, EventHistory, Experiment, ExperimentStore, Exposure
from feed_svc.feeds.sources import WEIGHTS
from feed_svc.feeds.tuning import Tuning
from feed_svc.settings import FeedSettings
from reelgraph.events.v1.event_pb2 import Event
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import not_found

REMEMBERED = 50_000
"""Exposures that a process need not write again; forgetting one costs a statement that changes nothing."""
HOUR_MS = 3_600_000


class ExperimentTunings:
    """`Tunings` of the feeds: neither waits nor fails. `expose` is told each viewer's first page of an experiment."""

    def __init__(
        self,
        experiments: Sequence[Experiment],
        store: ExperimentStore,
        settings: FeedSettings,
        clock: Clock,
        *,
        expose: Callable[[Exposure], None],
    ) -> None:
        self._experiments = experiments
        self._store = store
        self._settings = settings
        self._clock = clock
        self._expose = expose
        self._stopped: frozenset[tuple[str, str]] = frozenset()
        self._made: dict[tuple[tuple[str, str], ...], Tuning] = {(): Tuning(settings)}
        self._exposed: OrderedDict[tuple[str, str], None] = OrderedDict()

    def of(self, owner: str) -> Tuning:
        """See `Tunings.of`. One object for each combination of arms."""
        arms = []
        for experiment in self._experiments:
            arm = arm_of(experiment, owner)
            if arm is not None and (experiment.name, arm.name) not in self._stopped:
                arms.append((experiment.name, arm))
        key = tuple((name, arm.name) for name, arm in arms)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._tuning(key, [arm for _, arm in arms])
        return made

    def shown(self, owner: str, user_id: int, tuning: Tuning) -> None:
        """See `Tunings.shown`."""
        for experiment, arm in tuning.arms:
            key = (owner, experiment)
            if key not in self._exposed:
                self._expose(Exposure(owner, user_id, experiment, arm, now_ms(self._clock)))
                if len(self._exposed) >= REMEMBERED:
                    self._exposed.popitem(last=False)
            self._exposed[key] = None

    async def refresh(self) -> None:
        """Learn of arms that were stopped."""
        stops = await self._store.stops([experiment.name for experiment in self._experiments])
        self._stopped = frozenset((stop.experiment, stop.arm) for stop in stops)

    def _tuning(self, key: tuple[tuple[str, str], ...], arms: Sequence[Arm]) -> Tuning:
        settings, sources, values = self._settings, dict(WEIGHTS), dict[str, float]()
        for arm in arms:
            settings = tuned(settings, arm)
            sources |= arm.source_weights
            values |= arm.value_weights
        return Tuning(settings, sources, values, key)


class ExperimentReports:
    """Reports, made from the archive: the same events give the same report."""

    def __init__(
        self, experiments: Sequence[Experiment], store: ExperimentStore, history: EventHistory, clock: Clock
    ) -> None:
        self.experiments = experiments
        self._store = store
        self._history = history
        self._clock = clock

    async def report(self, name: str) -> Report:
        """What an experiment has shown. Raises NOT_FOUND for an undeclared one, UNAVAILABLE."""
        experiment = next((one for one in self.experiments if one.name == name), None)
        if experiment is None:
            raise not_found("name", "experiment")
        outcomes = Outcomes(name, int(experiment.window_hours * HOUR_MS))
        async for payload in self._history.since(0, ("feed",)):
            outcomes.take_exposures(Event.FromString(payload))
        comparing = Comparing(experiment)
        if outcomes.by_owner:
            first = min(outcome.exposed_at_ms for outcome in outcomes.by_owner.values())
            async for payload in self._history.since(first, TOPICS):
                outcomes.take(Event.FromString(payload))
        for outcome in outcomes.complete(now_ms(self._clock)):
            comparing.add(outcome)
        exposures = Counter(outcome.arm for outcome in outcomes.by_owner.values())
        return comparing.report(exposures, await self._store.stops([name]))
