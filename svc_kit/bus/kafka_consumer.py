"""A member of a consumer group on Kafka, as the port has it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence

from kafka.errors import KafkaError

from svc_kit.bus.kafka_config import CannotConnect, KafkaSettings, as_unavailable
from svc_kit.bus.kafka_holdings import Holdings
from svc_kit.bus.kafka_member import MemberThread
from svc_kit.bus.kafka_reading import take_over
from svc_kit.bus.layout import check_positions
from svc_kit.bus.port import Delivery, Fenced, Position
from svc_kit.bus.waiting import wait_event
from svc_kit.clock import Clock
from svc_kit.errors import unavailable


class KafkaGroupConsumer:
    """See `svc_kit.bus.port.Consumer`."""

    def __init__(
        self, settings: KafkaSettings, clock: Clock, group: str, topics: Sequence[str], partitions: int
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._group = group
        self._topics = tuple(topics)
        self._partitions = partitions
        self._holdings = Holdings()
        self._thread = MemberThread(settings, group, topics, self._holdings)

    async def open(self) -> None:
        """Connect, and join in the background. Raises UNAVAILABLE."""
        self._thread.start()
        await asyncio.shield(self._thread.connected)

    async def close(self) -> None:
        """Leave the group, within a bounded time."""
        await self._thread.stop()

    @property
    def epoch(self) -> int:
        return self._holdings.epoch

    @property
    def waiting(self) -> int:
        """Records fetched ahead of the application: fewer than it asks for at once, and `kafka_member.CHUNK`."""
        return self._holdings.waiting

    async def poll(self, limit: int, wait_s: float) -> Sequence[Delivery]:
        self._holdings.rest()
        deadline = self._clock.monotonic() + wait_s
        await self._join()
        while True:
            news = self._thread.news
            news.clear()
            if taken := self._holdings.take(limit):
                if len(taken) == limit and self._holdings.waiting < limit:
                    self._thread.look_ahead()
                return taken
            if self._thread.has_ended:
                raise unavailable("The event bus can't be used now.")
            self._thread.want()
            remaining = deadline - self._clock.monotonic()
            if remaining <= 0:
                return []
            await wait_event(news, self._clock, remaining)

    async def _join(self) -> None:
        """Be a member, whose share is known (it may be none until others have given theirs up)."""
        joined = self._thread.joined
        if not joined.done():
            try:
                async with asyncio.timeout(self._settings.hold_s + self._settings.timeout_s):
                    await asyncio.shield(joined)
            except TimeoutError as error:
                raise as_unavailable(error, f"joining {self._group}") from error
        joined.result()

    async def commit(self, deliveries: Sequence[Delivery]) -> None:
        good, fenced = self._holdings.to_commit(self._holdings.marks(deliveries))
        if good:
            fenced = fenced + await self._thread.call(functools.partial(self._thread.commit, marks=good))
        if fenced:
            raise Fenced(f"no longer held: {sorted(set(fenced))}")

    async def seek(self, offsets: Mapping[Position, int]) -> None:
        check_positions(offsets, self._topics, self._partitions)
        moves = {position: max(0, offset) for position, offset in offsets.items()}
        self._holdings.rest()
        await self._join()
        if self._holdings.holds(moves):
            await self._thread.call(functools.partial(self._thread.seek, offsets=moves))
            return
        try:
            await asyncio.to_thread(take_over, self._settings, self._group, moves)
        except (KafkaError, CannotConnect, OSError) as error:
            raise as_unavailable(error, f"moving {self._group}") from error
