"""Fan-out from events, and the loop that runs its jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from feed_svc.fanout.commands import FanoutCommands
from feed_svc.fanout.store import Post, TimelineEntry
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.video_pb2 import VideoFacts
from svc_kit.bus.runner import Envelope
from svc_kit.bus.waiting import Backoff, wait_event
from svc_kit.clock import Clock
from svc_kit.liveness import new_holder
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

TOPICS = ("video",)
POLL_S = 2.0

_log = log(__name__)


class FanoutEvents:
    """A `svc_kit.bus.runner.Handler` of `video.*`."""

    def __init__(self, commands: FanoutCommands) -> None:
        self._commands = commands

    async def handle(self, batch: Sequence[Envelope]) -> None:
        for envelope in batch:
            await self._apply(envelope.event)

    async def _apply(self, event: Event) -> None:
        match event.WhichOneof("body"):
            case "video_published":
                await self._commands.publish(_entry(event.video_published.video, event.entity_version))
            case "video_updated":
                await self._commands.publish(_entry(event.video_updated.video, event.entity_version))
            case "video_deleted":
                gone = event.video_deleted
                await self._commands.withdraw(gone.video_id, gone.author_id, event.entity_version)
            case _:
                pass


def _entry(video: VideoFacts, version: int) -> TimelineEntry:
    return TimelineEntry(
        Post(video.video_id, video.author_id, video.published_at_ms),
        video.visibility,
        tuple(video.hashtags),
        video.duration_ms,
        video.language,
        version,
    )


class FanoutRunner:
    """Runs fan-out jobs, a few at once. Woken by `wake`, else it looks every 2 s."""

    def __init__(self, clock: Clock, concurrency: int) -> None:
        self._clock = clock
        self._concurrency = concurrency
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There is a job."""
        self._wake.set()

    async def run(self, commands: FanoutCommands) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._work(commands, new_holder()))

    async def _work(self, commands: FanoutCommands, holder: str) -> None:
        failures, backoff = 0, Backoff()
        while True:
            try:
                while await commands.run_next(holder):
                    failures = 0
            except Exception as error:
                if not is_transient(error):
                    raise
                failures += 1
                _log.warning("fan-out waits", failures=failures, error=str(error))
                await self._clock.sleep(backoff.delay(failures))
                continue
            await wait_event(self._wake, self._clock, POLL_S)
            self._wake.clear()
