"""Group `feed.archive`: every event into the archive, committed once it is durable there."""

from __future__ import annotations

from collections.abc import Sequence

from feed_svc.analytics.columns import archived
from feed_svc.analytics.store import Archive
from svc_kit.bus.port import TOPICS, Bus, Consumer, Delivery, Fenced
from svc_kit.bus.waiting import Backoff
from svc_kit.clock import Clock
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

GROUP = "feed.archive"
POLL_WAIT_S = 1.0
POLL_LIMIT = 500


class ArchiveWorker:
    """Gathers deliveries until there are `flush_events` or the oldest is `flush_s` old, writes them, then commits. What
    was gathered and not committed comes again after a crash, cut into other batches: the archive takes what is missing.
    """

    def __init__(
        self,
        bus: Bus,
        archive: Archive,
        clock: Clock,
        *,
        flush_events: int,
        flush_s: float,
        backoff: Backoff | None = None,
    ) -> None:
        self._bus = bus
        self._archive = archive
        self._clock = clock
        self._flush_events = flush_events
        self._flush_s = flush_s
        self._backoff = backoff or Backoff()
        self._log = log(__name__).bind(group=GROUP)

    async def run(self) -> None:
        """Archive until cancelled. A job, see `svc_kit.service.Job`."""
        failures = 0
        while True:
            try:
                async with self._bus.consumer(GROUP, TOPICS) as consumer:
                    gathering = _Gathering(self._clock)
                    while True:
                        await self._step(consumer, gathering)
                        failures = 0
            except Exception as error:
                if not is_transient(error):
                    raise
                # A new consumer begins at what was committed.
                failures += 1
                self._log.warning("archive waits", failures=failures, error=str(error))
                await self._clock.sleep(self._backoff.delay(failures))

    async def _step(self, consumer: Consumer, gathering: _Gathering) -> None:
        room = self._flush_events - len(gathering.deliveries)
        epoch, held = consumer.epoch, bool(gathering.deliveries)
        fresh = await consumer.poll(min(POLL_LIMIT, room), min(POLL_WAIT_S, max(self._flush_s, 0.01)))
        gathering.add(fresh)
        full = len(gathering.deliveries) >= self._flush_events
        # After a rebalance what was gathered may belong to another member: it is written and let go of at once.
        moved = held and consumer.epoch != epoch
        if gathering.deliveries and (full or moved or gathering.age_s() >= self._flush_s):
            await self._flush(consumer, gathering.take())

    async def _flush(self, consumer: Consumer, deliveries: Sequence[Delivery]) -> None:
        added = await self._archive.put([archived(delivery) for delivery in deliveries])
        try:
            await consumer.commit(deliveries)
        except Fenced as error:
            self._log.info("partitions moved to another member", error=str(error))
        self._log.debug("archived", events=len(deliveries), added=added)


class _Gathering:
    """Deliveries that wait to be written."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = 0.0
        self.deliveries: list[Delivery] = []

    def add(self, fresh: Sequence[Delivery]) -> None:
        if fresh and not self.deliveries:
            self._since = self._clock.monotonic()
        self.deliveries += fresh

    def age_s(self) -> float:
        return self._clock.monotonic() - self._since

    def take(self) -> list[Delivery]:
        taken, self.deliveries = self.deliveries, []
        return taken
