"""Recording which version serves."""

from __future__ import annotations

from rank_svc.scorers.store import ModelLog, Promotion
from reelgraph.events.v1.model_pb2 import ModelPromoted
from svc_kit.caller import ANONYMOUS
from svc_kit.clock import Clock, now_ms

ENTITY = "model:serving"


class ModelCommands:
    """Writes the record of promotions."""

    def __init__(self, log: ModelLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    async def record_serving(self, version: str) -> bool:
        """Record that `version` began to serve and tell the others; once, however many replicas switch. True: it is
        news."""
        async with self._log.begin(ANONYMOUS) as tx:
            known = await tx.promotion()
            previous = known.version if known else ""
            if previous == version:
                return False
            number = await tx.promote(Promotion(version, previous, now_ms(self._clock)))
            event = ModelPromoted(version=version, previous=previous)
            tx.emit(entity=ENTITY, version=number, actor_id=0, model_promoted=event)
        return True
