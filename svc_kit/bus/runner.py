"""Runs a handler over the events of a consumer group: at least once, in order for each entity, past what it can't
handle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog
from google.protobuf.message import DecodeError

from reelgraph.events.v1.event_pb2 import Event
from svc_kit.bus import metrics
from svc_kit.bus.port import Bus, Consumer, Delivery, Fenced
from svc_kit.bus.waiting import Backoff
from svc_kit.clock import Clock
from svc_kit.faults import CrashPoint, crash_points
from svc_kit.telemetry import bind_request_id, log
from svc_kit.transient import is_transient

T = TypeVar("T")

POLL_WAIT_S = 1.0
HANDLE_TIMEOUT_S = 60.0
LAG_EVERY_S = 10.0
MAX_HELD = 100_000


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event and where it came from."""

    event: Event
    topic: str
    partition: int
    offset: int


class Handler(Protocol):
    """What a group does with events."""

    async def handle(self, batch: Sequence[Envelope]) -> None:
        """Apply events, in order for each key. Called again with the same ones after a failure, maybe in smaller
        batches: must be idempotent, and must leave nothing half-applied that a repetition would not complete."""
        ...


class HandlerTimeout(Exception):
    """The handler took longer than a minute; that is its defect, not a dependency's."""


class _Stopped(Exception):
    """Asked to stop between two attempts."""


class EventWorker:
    """One member of a consumer group that runs a handler. A worker, see `svc_kit.service.Worker`.

    A failed batch is tried again without end while a dependency is down (transient errors), with growing pauses.
    Any other error: its events are tried one by one, and one that fails `attempts` times goes to the group's dead
    letters; later events of its entity follow it there in order, events of other entities go on.
    """

    def __init__(
        self,
        bus: Bus,
        group: str,
        topics: Sequence[str],
        handler: Handler,
        clock: Clock,
        *,
        batch: int = 100,
        attempts: int = 5,
        backoff: Backoff | None = None,
        crash_point: CrashPoint | None = None,
    ) -> None:
        self._bus = bus
        self._group = group
        self._topics = tuple(topics)
        self._handler = handler
        self._clock = clock
        self._batch = batch
        self._attempts = attempts
        self._backoff = backoff or Backoff()
        self._crash_point = crash_point or crash_points()
        self._log = log(__name__).bind(group=group)
        self._held: set[str] = set()
        self._epoch: int | None = None
        self._lag_at = float("-inf")
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stopped.set()

    @property
    def name(self) -> str:
        """The group."""
        return self._group

    async def run(self) -> None:
        """Handle events until cancelled or drained. A cancelled batch comes again; a drained one is finished."""
        self._stopped.clear()
        failures = 0
        try:
            while not self._stopping.is_set():
                try:
                    self._epoch = None
                    async with self._bus.consumer(self._group, self._topics) as consumer:
                        while not self._stopping.is_set():
                            await self._step(consumer)
                            failures = 0
                except _Stopped:
                    return
                except Exception as error:
                    if not is_transient(error):
                        raise
                    failures += 1
                    self._log.warning("bus can't be used", failures=failures, error=str(error))
                    await self._pause(failures)
        finally:
            self._stopped.set()

    async def drain(self) -> None:
        """Finish the batch at hand and return when `run` has; a batch that waits for a dependency is left for
        another time."""
        self._stopping.set()
        await self._stopped.wait()

    async def _pause(self, failures: int) -> None:
        await self._unless_stopped(self._clock.sleep(self._backoff.delay(failures)))

    async def _unless_stopped(self, coroutine: Coroutine[Any, Any, T]) -> T | None:
        """What `coroutine` answers; it is cancelled, for None, when the worker is asked to stop first."""
        work = asyncio.ensure_future(coroutine)
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else None
        finally:
            stop.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait([work])

    async def _step(self, consumer: Consumer) -> None:
        deliveries = await self._unless_stopped(consumer.poll(self._batch, POLL_WAIT_S))
        if deliveries:
            if self._epoch != consumer.epoch or any(d.record.entity in self._held for d in deliveries):
                # Another member may have buried events of our partitions before, or somebody retried dead letters.
                await self._load_held()
                self._epoch = consumer.epoch
            await self._crash_point("worker.before_handle")
            await self._handle_all(deliveries)
            await self._crash_point("worker.after_handle")
            try:
                await consumer.commit(deliveries)
            except Fenced as error:
                self._log.info("partitions moved to another member", error=str(error))
        await self._measure_lag()

    async def _load_held(self) -> None:
        letters = await self._bus.dead_letters(self._group, MAX_HELD)
        self._held = {letter.delivery.record.entity for letter in letters}

    async def _measure_lag(self) -> None:
        now = self._clock.monotonic()
        if now - self._lag_at >= LAG_EVERY_S:
            self._lag_at = now
            metrics.LAG.labels(self._group).set(await self._bus.lag(self._group, self._topics))

    async def _handle_all(self, deliveries: Sequence[Delivery]) -> None:
        ready = [delivery for delivery in deliveries if delivery.record.entity not in self._held]
        if len(ready) == len(deliveries) and await self._handled_together(deliveries):
            return
        for delivery in deliveries:
            if delivery.record.entity in self._held:
                await self._bury(delivery, "held back: an earlier event of its entity is a dead letter")
            elif error := await self._handle_one(delivery):
                await self._bury(delivery, error)

    async def _handled_together(self, deliveries: Sequence[Delivery]) -> bool:
        """Handle a whole batch; false when it must be taken apart."""
        try:
            batch = [decode(delivery) for delivery in deliveries]
        except DecodeError:
            return False
        return not await self._attempt(batch)

    async def _handle_one(self, delivery: Delivery) -> str:
        """Handle one event within its attempts; the last error, or nothing."""
        try:
            batch = [decode(delivery)]
        except DecodeError as error:
            return f"DecodeError: {error}"
        for attempt in range(1, self._attempts + 1):
            failure = await self._attempt(batch)
            if not failure or attempt == self._attempts:
                return failure
            await self._pause_between(attempt)
        return ""

    async def _attempt(self, batch: Sequence[Envelope]) -> str:
        """Handle a batch, again for as long as its errors are transient; another error, or nothing."""
        failures = 0
        while True:
            try:
                await self._call(batch)
            except Exception as error:
                if not is_transient(error):
                    metrics.RETRIES.labels(self._group, "failed").inc()
                    self._log.warning(
                        "event handler failed", events=len(batch), event_id=batch[0].event.id, exc_info=error
                    )
                    return f"{type(error).__name__}: {error}"[:2000]
                failures += 1
                metrics.RETRIES.labels(self._group, "transient").inc()
                self._log.warning("event handler waits", events=len(batch), failures=failures, error=str(error))
                await self._pause_between(failures)
            else:
                for envelope in batch:
                    metrics.HANDLED.labels(self._group, envelope.topic).inc()
                return ""

    async def _pause_between(self, failures: int) -> None:
        await self._pause(failures)
        if self._stopping.is_set():
            raise _Stopped

    async def _call(self, batch: Sequence[Envelope]) -> None:
        limit = asyncio.timeout(HANDLE_TIMEOUT_S)
        try:
            with _named(batch):
                async with limit:
                    await self._handler.handle(batch)
        except TimeoutError as error:
            if limit.expired():
                raise HandlerTimeout(f"took more than {HANDLE_TIMEOUT_S:.0f} s") from error
            raise

    async def _bury(self, delivery: Delivery, error: str) -> None:
        await self._bus.bury(self._group, delivery, error)
        self._held.add(delivery.record.entity)
        metrics.BURIED.labels(self._group, delivery.record.topic).inc()
        self._log.error("event buried", event_id=delivery.record.event_id, entity=delivery.record.entity, error=error)


def decode(delivery: Delivery) -> Envelope:
    """The event of a delivery. Raises DecodeError."""
    event = Event.FromString(delivery.record.payload)
    return Envelope(event, delivery.record.topic, delivery.partition, delivery.offset)


@contextlib.contextmanager
def _named(batch: Sequence[Envelope]) -> Iterator[None]:
    """Log lines of the handler carry the request that caused its events; outgoing calls too, when it is one."""
    ids = sorted({envelope.event.request_id for envelope in batch} - {""})
    if len(ids) == 1:
        bind_request_id(ids[0])
    with structlog.contextvars.bound_contextvars(request_ids=ids[:10]) if len(ids) > 1 else contextlib.nullcontext():
        try:
            yield
        finally:
            if len(ids) == 1:
                bind_request_id("")
                structlog.contextvars.unbind_contextvars("request_id")


async def caught_up(bus: Bus, group: str, topics: Sequence[str], clock: Clock, timeout_s: float) -> None:
    """Return when `group` has committed all that is on the bus. Raises TimeoutError after `timeout_s` seconds of
    `clock`."""
    deadline = clock.monotonic() + timeout_s
    while lag := await bus.lag(group, topics):
        if clock.monotonic() >= deadline:
            raise TimeoutError(f"{group} is {lag} events behind after {timeout_s} s")
        await clock.sleep(0.01)
