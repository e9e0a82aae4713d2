"""Wake-ups between processes over the cache's pub/sub: hints that there is something new to read from truth.

They carry nothing and may be lost at any moment, so a listener also looks by itself every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from svc_kit.bus.waiting import Backoff, wait_event
from svc_kit.cache import Cache, CacheError, Subscription
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

    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._listeners: dict[str, set[Listener]] = {}
        self._subscription: Subscription | None = None
        self._reader: asyncio.Task[None] | None = None

    async def wake(self, topics: Iterable[str]) -> None:
        """Wake the listeners of these topics, in all processes. Best effort: never raises for the cache's sake."""
        try:
            await self._cache.publish([(_PREFIX + topic, b"") for topic in topics])
        except CacheError as error:
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
            await self._change(topic, listen=True)
        try:
            yield listener
        finally:
            listeners.discard(listener)
            if not listeners:
                self._listeners.pop(topic, None)
                await self._change(topic, listen=False)

    async def close(self) -> None:
        """Stop listening."""
        if self._reader is not None:
            await cancel_all([self._reader])

    async def _change(self, topic: str, *, listen: bool) -> None:
        subscription = self._subscription
        if subscription is None:
            return  # The reader subscribes to whatever is listened to once it is connected.
        try:
            await (subscription.add if listen else subscription.remove)(_PREFIX + topic)
        except CacheError as error:
            _log.warning("subscription not changed", topic=topic, error=str(error))

    async def _read(self) -> None:
        backoff, failures = Backoff(), 0
        while True:
            try:
                async with self._cache.subscribe() as subscription:
                    self._subscription = subscription
                    await subscription.add(*(_PREFIX + topic for topic in self._listeners))
                    while True:
                        message = await subscription.next(_READ_S)
                        failures = 0
                        # The answer to a subscription wakes too: what came between reading and subscribing is seen.
                        if message is not None:
                            self._signal(message.channel.removeprefix(_PREFIX))
            except CacheError as error:
                failures += 1
                _log.warning("wake-ups lost", error=str(error))
            finally:
                self._subscription = None
            for topic in list(self._listeners):
                self._signal(topic)
            await self._clock.sleep(backoff.delay(failures))

    def _signal(self, topic: str) -> None:
        for listener in self._listeners.get(topic, ()):
            listener.event.set()
