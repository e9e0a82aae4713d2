"""Moves events from a service's outbox to the bus, in the order they were written, each at least once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, MetaData, Row, delete, select, update

from svc_kit.bus import metrics
from svc_kit.bus.port import Bus, Record
from svc_kit.bus.waiting import Backoff, wait_event
from svc_kit.clock import Clock, now_ms
from svc_kit.db import Database
from svc_kit.errors import AppError, Reason
from svc_kit.faults import CrashPoint, crash_points
from svc_kit.leases import Lease
from svc_kit.liveness import new_holder
from svc_kit.telemetry import log
from svc_kit.transient import is_transient
from svc_kit.uow import outbox_table

BATCH = 500
POLL_S = 0.2
LEASE_TTL_MS = 10_000
KEPT_MS = 3_600_000
PRUNE_S = 60.0
REFUSED = -1
"""`published_at_ms` of a row that the bus refused for good, such as one over its size limit; kept for an operator."""

OutboxRow = Row[int, int, str, int, str, bytes]


class OutboxRelay:
    """Publishes rows of `outbox` that are not marked, then marks them. A worker, see `svc_kit.service.Worker`.

    Rows are found by not being marked, never by a high-water mark: a transaction that commits late has a low number.
    A lease keeps a second relay of the same outbox waiting; should both run for a moment, events come twice,
    which is allowed.
    """

    def __init__(
        self,
        db: Database,
        bus: Bus,
        clock: Clock,
        signal: asyncio.Event | None = None,
        *,
        name: str = "relay",
        backoff: Backoff | None = None,
        crash_point: CrashPoint | None = None,
    ) -> None:
        self._db = db
        self._bus = bus
        self._clock = clock
        self._signal = signal or db.committed
        self._name = name
        self._backoff = backoff or Backoff()
        self._crash_point = crash_point or crash_points()
        self._outbox = outbox_table(MetaData())
        self._lease = Lease(db, "outbox-relay", new_holder(), LEASE_TTL_MS, clock)
        self._pruned_at = clock.monotonic()

    @property
    def name(self) -> str:
        """Names its logs."""
        return self._name

    async def run(self) -> None:
        """Relay until cancelled: at once when a transaction of this process committed, else within `POLL_S`."""
        failures = 0
        try:
            while True:
                self._signal.clear()
                try:
                    await self.flush()
                    await self._prune_when_due()
                except Exception as error:
                    if not is_transient(error):
                        raise
                    failures += 1
                    log(__name__).warning("relay waits", relay=self._name, failures=failures, error=str(error))
                    await self._clock.sleep(self._backoff.delay(failures))
                    continue
                failures = 0
                await wait_event(self._signal, self._clock, POLL_S)
        finally:
            with contextlib.suppress(AppError):
                await asyncio.shield(self._lease.release())

    async def flush(self) -> int:
        """Publish all that is unpublished now; how many. None while another process relays. Raises what bus and
        database do."""
        total = 0
        while moved := await self._publish_some():
            total += moved
            if moved < BATCH:
                break
        return total

    async def _publish_some(self) -> int:
        rows = await self._unpublished()
        if rows and not self._lease.held:
            if not await self._lease.acquire():
                return 0
            rows = await self._unpublished()  # the last holder may have published some between
        if not rows:
            return 0
        await self._crash_point("relay.before_publish")
        refused = await self._publish(rows)
        await self._crash_point("relay.after_publish")
        await self._mark(rows, refused)
        for row in rows:
            (metrics.REFUSED if row.seq in refused else metrics.PUBLISHED).labels(row.topic).inc()
        return len(rows)

    async def _unpublished(self) -> Sequence[OutboxRow]:
        o = self._outbox
        query = select(o.c.seq, o.c.event_id, o.c.topic, o.c.key, o.c.entity, o.c.payload)
        async with self._db.read() as connection:
            result = await connection.execute(query.where(o.c.published_at_ms.is_(None)).order_by(o.c.seq).limit(BATCH))
            return result.all()

    async def _publish(self, rows: Sequence[OutboxRow]) -> set[int]:
        """Publish; the `seq` of rows that the bus refused for good."""
        try:
            await self._bus.publish([_record(row) for row in rows])
        except (AppError, ValueError) as error:
            if not _refuses(error):
                raise
            if len(rows) > 1:
                return {seq for row in rows for seq in await self._publish([row])}
            log(__name__).error("bus refuses an event", relay=self._name, event_id=rows[0].event_id, error=str(error))
            return {rows[0].seq}
        return set()

    async def _mark(self, rows: Sequence[OutboxRow], refused: Collection[int]) -> None:
        now = now_ms(self._clock)
        async with self._db.write() as connection:
            for value, are_refused in ((now, False), (REFUSED, True)):
                some = [row for row in rows if (row.seq in refused) is are_refused]
                if some:
                    mark = update(self._outbox).where(self._are(some)).values(published_at_ms=value)
                    await connection.execute(mark)

    def _are(self, rows: Sequence[Any]) -> ColumnElement[bool]:
        # By key too, and by the event's id: on shards `seq` is a row's only among its neighbours.
        o = self._outbox
        return o.c.key.in_({row.key for row in rows}) & o.c.event_id.in_([row.event_id for row in rows])

    async def _prune_when_due(self) -> None:
        now = self._clock.monotonic()
        if now - self._pruned_at >= PRUNE_S:
            self._pruned_at = now
            more = True
            while more:
                more = await self.prune() == BATCH

    async def prune(self) -> int:
        """Remove at most `BATCH` rows that were published more than an hour ago; how many."""
        o, before = self._outbox, now_ms(self._clock) - KEPT_MS
        async with self._db.read() as connection:
            query = select(o.c.key, o.c.event_id).where(o.c.published_at_ms.between(0, before)).limit(BATCH)
            rows = (await connection.execute(query)).all()
        if rows:
            async with self._db.write() as connection:
                await connection.execute(delete(o).where(self._are(rows)))
        return len(rows)


def _refuses(error: Exception) -> bool:
    return not isinstance(error, AppError) or error.reason is Reason.BAD_USER_INPUT


def _record(row: OutboxRow) -> Record:
    return Record(row.topic, row.key, row.event_id, row.entity, bytes(row.payload))
