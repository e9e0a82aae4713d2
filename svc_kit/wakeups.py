"""Wake-ups between processes over the cache's pub/sub: hints that there is something new to read from truth.

They carry nothing and may be lost at any moment, so a listener also looks by itself every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from svc_kit.bus.waiting import Backoff, wait_event
from svc_kit.clock import Clock
from svc_kit.ending import cancel_all
from svc_kit.telemetry import log

_PREFIX = "wake:"
_READ_S = 30.0
_log = log(__name__)


class Listener:
    """Waits for wake-ups of one topic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.event = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """Return at the next wake-up (also one since the last return), or after `seconds`; true: woken."""
        woken = await wait_event(self.event, self._clock, seconds)
        self.event.clear()
        return woken


class Wakeups:
    """One subscription a process, however many listen. Close it when the service ends."""

    def __init__(self, cache: Redis, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._listeners: dict[str, set[Listener]] = {}
        self._pubsub: Any = None
        self._reader: asyncio.Task[None] | None = None

    async def wake(self, topics: Iterable[str]) -> None:
        """Wake the listeners of these topics, in all processes. Best effort: never raises for the cache's sake."""
        try:
            async with self._cache.pipeline(transaction=False) as pipeline:
                for topic in topics:
                    _ = pipeline.publish(_PREFIX + topic, b"")  # Queued; `execute` sends.
                await pipeline.execute()
        except (RedisError, OSError) as error:
            _log.warning("wake-up not sent", error=str(error))

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[Listener]:
        """Listen to one topic. What is committed before the first `wait` may come without a wake-up: read it first."""
        listener = Listener(self._clock)
        listeners = self._listeners.setdefault(topic, set())
        listeners.add(listener)
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="wakeups")
        elif len(listeners) == 1:
            await self._send("subscribe", topic)
        try:
            yield listener
        finally:
            listeners.discard(listener)
            if not listeners:
                self._listeners.pop(topic, None)
                await self._send("unsubscribe", topic)

    async def close(self) -> None:
        """Stop listening."""
        if self._reader is not None:
            await cancel_all([self._reader])

    async def _send(self, command: str, topic: str) -> None:
        if self._pubsub is None:
            return  # The reader subscribes to whatever is listened to once it is connected.
        try:
            await getattr(self._pubsub, command)(_PREFIX + topic)
        except (RedisError, OSError) as error:
            _log.warning("subscription not changed", command=command, error=str(error))

    async def _read(self) -> None:
        backoff, failures = Backoff(), 0
        while True:
            try:
                async with self._cache.pubsub() as pubsub:
                    # The empty topic has no sender: without any subscription a pub/sub connection can't be read.
                    await pubsub.subscribe(*(_PREFIX + topic for topic in ["", *self._listeners]))
                    self._pubsub = pubsub
                    failures = 0
                    while True:
                        message = await pubsub.get_message(timeout=_READ_S)
                        # The answer to a subscription wakes too: what came between reading and subscribing is seen.
                        if message is not None and message["type"] in ("message", "subscribe"):
                            self._signal(message["channel"].decode().removeprefix(_PREFIX))
            except (RedisError, OSError) as error:
                failures += 1
                _log.warning("wake-ups lost", error=str(error))
            finally:
                self._pubsub = None
            for topic in list(self._listeners):
                self._signal(topic)
            await self._clock.sleep(backoff.delay(failures))

    def _signal(self, topic: str) -> None:
        for listener in self._listeners.get(topic, ()):
            listener.event.set()
