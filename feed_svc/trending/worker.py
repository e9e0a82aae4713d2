"""Group `feed.trending`: what is done with videos into their order; and the jobs beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from feed_svc.trending.commands import TrendingCommands
from svc_kit.bus.runner import Envelope
from svc_kit.clock import Clock
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

GROUP = "feed.trending"


class TrendingHandler:
    """Applies events; a repetition changes nothing."""

    def __init__(self, commands: TrendingCommands) -> None:
        self._commands = commands

    async def handle(self, batch: Sequence[Envelope]) -> None:
        await self._commands.apply([envelope.event for envelope in batch])


class Repeated:
    """Does something now and then, also after a dependency was down. A job, see `svc_kit.service.Job`."""

    def __init__(self, name: str, work: Callable[[], Awaitable[int]], every_s: float, clock: Clock) -> None:
        self._name = name
        self._work = work
        self._every_s = every_s
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                done = await self._work()
                if done:
                    log(__name__).info("done", job=self._name, count=done)
            except Exception as error:
                if not is_transient(error):
                    raise
                log(__name__).warning("put off", job=self._name, error=str(error))
            await self._clock.sleep(self._every_s)
