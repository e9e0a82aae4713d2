"""Exposures are written once, and arms that harm their viewers are stopped."""

from __future__ import annotations

from collections.abc import Sequence

from feed_svc.experiments.queries import ExperimentReports
from feed_svc.experiments.report import ArmReport
from feed_svc.experiments.store import ExperimentStore, Exposure, Stop
from reelgraph.events.v1.feed_pb2 import FeedExposed
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.telemetry import log

AS_WORKER = Caller(is_service=True)
_log = log(__name__)


class ExperimentCommands:
    """Called by workers alone."""

    def __init__(self, store: ExperimentStore, reports: ExperimentReports, clock: Clock) -> None:
        self._store = store
        self._reports = reports
        self._clock = clock

    async def expose(self, exposures: Sequence[Exposure]) -> None:
        """Note exposures; each owner and experiment is told once, whatever is handed over again."""
        async with self._store.begin(AS_WORKER) as tx:
            for exposure in exposures:
                if await tx.expose(exposure):
                    tx.emit(
                        entity=f"exposure:{exposure.experiment}:{exposure.owner}",
                        version=1,
                        actor_id=exposure.user_id,
                        feed_exposed=FeedExposed(
                            user_id=exposure.user_id,
                            owner=exposure.owner,
                            experiment=exposure.experiment,
                            arm=exposure.arm,
                            exposed_at_ms=exposure.at_ms,
                        ),
                    )

    async def guard(self) -> None:
        """Stop each arm that a guardrail of its experiment is broken by."""
        for experiment in self._reports.experiments:
            if not experiment.guardrails:
                continue
            report = await self._reports.report(experiment.name)
            for arm in report.arms:
                if not arm.stopped and (reason := _broken(arm)):
                    await self._stop(Stop(experiment.name, arm.name, now_ms(self._clock), reason))

    async def _stop(self, stop: Stop) -> None:
        async with self._store.begin(AS_WORKER) as tx:
            stopped = await tx.stop(stop)
        if stopped:
            _log.error("experiment arm stopped", experiment=stop.experiment, arm=stop.arm, reason=stop.reason)


def _broken(arm: ArmReport) -> str:
    for guardrail in arm.guardrails:
        if guardrail.is_broken:
            c = guardrail.comparison
            return (
                f"{c.metric} {c.mean:.4g} against {c.control_mean:.4g}, margin {guardrail.margin:g}, "
                f"difference within {c.low:.4g} to {c.high:.4g}"
            )
    return ""
