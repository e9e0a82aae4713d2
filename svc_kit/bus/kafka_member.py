"""One member of a Kafka consumer group, on a thread of its own: kafka-python's consumer is touched by no other.

While the application asks for records, the thread waits for them. While it works on what it got, the thread fetches
one chunk ahead and nothing more, and looks after its membership, so that rebalances go on however long the work takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka import errors as driver
from kafka.structs import MemberState

from svc_kit.bus.kafka_config import CannotConnect, KafkaSettings, as_unavailable, connect
from svc_kit.bus.kafka_holdings import Holdings
from svc_kit.bus.kafka_reading import LEAVE_S, RETRY_S, leave, member_configs, write_offsets
from svc_kit.bus.kafka_wire import deliveries_of
from svc_kit.bus.port import Position
from svc_kit.errors import AppError, unavailable
from svc_kit.telemetry import log

T = TypeVar("T")

CHUNK = 500
"""Records fetched at once, and ahead while the application works on the last of those before. So many die young for
Python's garbage collector; of a thousand or more each costs several times as much."""
SLICE_S = 1.0
"""How long the thread is deaf while it waits for records: shorter costs CPU when there are none."""
LOOK_IN_S = 0.25
REBALANCE_S = 2.0
REBALANCING = (driver.CommitFailedError, driver.RebalanceInProgressError, driver.UnknownMemberIdError)


class MemberThread(ConsumerRebalanceListener):  # type: ignore[misc]
    """Runs the consumer. Methods without an underscore are called from the event loop, `on_...` from the driver."""

    def __init__(self, settings: KafkaSettings, group: str, topics: Sequence[str], holdings: Holdings) -> None:
        self._settings = settings
        self._group = group
        self._names = {settings.topic(topic): topic for topic in topics}
        self._holdings = holdings
        self._loop = asyncio.get_running_loop()
        self.connected: asyncio.Future[None] = self._loop.create_future()
        self.joined: asyncio.Future[None] = self._loop.create_future()
        self.news = asyncio.Event()
        self._commands: queue.SimpleQueue[Callable[[Any], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._ended = False
        self._stopping = False
        self._wanted = False
        self._hurry = True
        self._yields_until: float | None = None
        self._consumer: Any = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=f"kafka-{group}", daemon=True)

    def start(self) -> None:
        """Connect and join, in the background."""
        self._thread.start()

    def want(self) -> None:
        """Fetch records; `news` is set when there are any."""
        if not self._wanted:
            self._wanted = True
            self._commands.put(None)

    def look_ahead(self) -> None:
        """Fetch what has arrived already, without waiting for more, while the application works."""
        if not self._wanted:
            self._commands.put(self._fetch_at_once)

    async def call(self, work: Callable[[Any], T]) -> T:
        """Run `work` on the thread. Raises UNAVAILABLE when it does not come to it in time, or fails."""
        done: asyncio.Future[T] = self._loop.create_future()

        def run(consumer: Any) -> None:
            try:
                result = work(consumer)
            except driver.KafkaError as error:
                self._tell(done, as_unavailable(error, "reading"))
            except Exception as error:
                self._tell(done, error)
            else:
                self._tell(done, None, result)

        with self._lock:
            if self._ended:
                raise unavailable("The event bus can't be used now.")
            self._commands.put(run)
        try:
            async with asyncio.timeout(2 * self._settings.timeout_s + SLICE_S):
                return await done
        except TimeoutError as error:
            raise as_unavailable(error, "reading") from error

    async def stop(self) -> None:
        """Leave the group, within a bounded time."""
        self._stopping = True
        self._commands.put(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SLICE_S + LEAVE_S + self._settings.timeout_s):
                await asyncio.shield(self._gone)

    def _tell(self, future: asyncio.Future[Any], error: BaseException | None, result: Any = None) -> None:
        def tell() -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
                future.exception()  # whoever waited may have gone

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(tell)

    def _run(self) -> None:
        try:
            configs = member_configs(self._settings, self._group, lambda: self._consumer.assignment())
            self._consumer = connect(KafkaConsumer, configs)
            self._consumer.subscribe(sorted(self._names), listener=self)
            self._tell(self.connected, None)
            while not self._stopping:
                self._turn(self._consumer)
            self._end(unavailable("The event bus is closed."))
        except Exception as error:
            if not isinstance(error, (driver.KafkaError, CannotConnect, OSError)):
                log(__name__).exception("member failed", group=self._group)
            self._end(as_unavailable(error, f"reading as {self._group}"))
        finally:
            if self._consumer is not None:
                leave(self._consumer)
            self._tell(self._gone, None)

    def _end(self, error: AppError) -> None:
        with self._lock:
            self._ended = True
        for future in (self.connected, self.joined):
            self._tell(future, error)
        with contextlib.suppress(queue.Empty):
            while True:
                if command := self._commands.get_nowait():
                    command(_Ended())
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.news.set)

    @property
    def has_ended(self) -> bool:
        """Nothing comes any more: the application has to join anew."""
        return self._ended

    def _turn(self, consumer: Any) -> None:
        if command := self._next_command():
            command(consumer)
        elif self._stopping or self._must_wait():
            return
        elif self._wanted and not self._hurry:
            self._fetch(consumer, int(SLICE_S * 1000))
        else:
            self._be_member(consumer)

    def _next_command(self) -> Callable[[Any], None] | None:
        with contextlib.suppress(queue.Empty):
            if (self._wanted or self._hurry) and not self._holdings.is_yielding:
                return self._commands.get_nowait()
            return self._commands.get(timeout=LOOK_IN_S)
        return None

    def _must_wait(self) -> bool:
        """Whether a partition that has to go is still worked on; then the group's next step has to wait."""
        if not self._holdings.is_yielding:
            self._yields_until = None
            return False
        now = time.monotonic()
        if self._yields_until is None:
            self._yields_until = now + self._settings.hold_s
        if now < self._yields_until:
            return True
        self._yields_until = None
        self._holdings.rest()
        return False

    def _fetch_at_once(self, consumer: Any) -> None:
        if not self._hurry and not self._holdings.is_yielding:
            self._fetch(consumer, 0)

    def _fetch(self, consumer: Any, wait_ms: int) -> None:
        self._take_in(consumer.poll(timeout_ms=wait_ms, max_records=CHUNK))
        self._hurry = self._hurry or consumer.group_metadata().state is not MemberState.STABLE

    def _be_member(self, consumer: Any) -> None:
        """Join, or join again where that is due.

        Of the driver's parts, as its own `poll` forgets a join that has not ended when its time is up, and then either
        begins another, or thinks that none is due and stays outside.
        """
        self._hurry = False
        consumer._coordinator.poll(timeout_ms=int(REBALANCE_S * 1000))
        if consumer.group_metadata().state is not MemberState.STABLE:
            consumer._coordinator.request_rejoin()
            self._hurry = True
        elif not self.joined.done():
            self._tell(self.joined, None)

    def _take_in(self, found: Mapping[TopicPartition, Sequence[Any]]) -> None:
        if not found:
            return
        self._wanted = False
        positions = {partition: (self._names[partition.topic], partition.partition) for partition in found}
        self._holdings.fetched({positions[p]: deliveries_of(positions[p], records) for p, records in found.items()})
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.news.set)

    def _positions(self, partitions: Sequence[TopicPartition]) -> list[Position]:
        return [(self._names[topic], partition) for topic, partition in partitions if topic in self._names]

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._holdings.came(self._positions(assigned))

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        self._hurry = True
        self._holdings.went(self._positions(revoked), lost=False)

    def on_partitions_lost(self, lost: Sequence[TopicPartition]) -> None:
        self._hurry = True
        log(__name__).warning("partitions lost", group=self._group, partitions=len(lost))
        self._holdings.went(self._positions(lost), lost=True)

    def commit(self, consumer: Any, marks: Mapping[Position, int]) -> list[Position]:
        """On the thread: write the group's offsets; the partitions that are not ours any more. A rebalance under way
        is brought to its end first."""
        until = time.monotonic() + self._settings.timeout_s
        fenced: list[Position] = []
        while True:
            good, gone = self._holdings.to_commit(marks)
            fenced = sorted({*fenced, *gone})
            if not good:
                return fenced
            try:
                write_offsets(consumer, self._settings, good, max(0.1, until - time.monotonic()))
            except REBALANCING:
                if time.monotonic() > until:
                    raise
                self._holdings.rest()
                self._be_member(consumer)
                time.sleep(RETRY_S)
            else:
                self._holdings.committed(good)
                return fenced

    def seek(self, consumer: Any, offsets: Mapping[Position, int]) -> None:
        """On the thread: move the place in partitions that are held."""
        write_offsets(consumer, self._settings, offsets, self._settings.timeout_s)
        self._holdings.moved(offsets.keys())
        for (topic, part), offset in offsets.items():
            consumer.seek(TopicPartition(self._settings.topic(topic), part), offset)


class _Ended:
    """In place of a consumer, for commands that came too late."""

    def __getattr__(self, name: str) -> Any:
        raise driver.IllegalStateError("the member has left")
