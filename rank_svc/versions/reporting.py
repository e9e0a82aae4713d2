"""What this replica serves and how it does, said in the database: for operators, wherever the replica runs."""

from __future__ import annotations

from rank_svc.retrieval.probe import RecallProbe
from rank_svc.retrieval.refresh import Refresh
from rank_svc.retrieval.replica import Replica
from rank_svc.versions.store import ReplicaState, VersionLog
from svc_kit.clock import Clock, now_ms
from svc_kit.liveness import new_holder


class ReplicaReport:
    """Says it again and again."""

    def __init__(
        self, versions: VersionLog, replica: Replica, refresh: Refresh, probe: RecallProbe, clock: Clock
    ) -> None:
        self._versions = versions
        self._replica = replica
        self._refresh = refresh
        self._probe = probe
        self._clock = clock
        self._holder = new_holder()

    async def step(self) -> None:
        """Say it once. Raises UNAVAILABLE when the database can't be written."""
        serving = self._replica.serving
        state = ReplicaState(
            self._holder,
            serving.version,
            serving.scorer.info.created[:32],
            self._refresh.refused,
            self._probe.recall,
            serving.videos.size,
            self._refresh.ages.take_ms(),
            now_ms(self._clock),
        )
        await self._versions.report(state)
