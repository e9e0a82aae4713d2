"""The consumer that keeps features up to date, and the reading of the whole log for a rebuild."""

from __future__ import annotations

from collections.abc import Sequence

from rank_svc.features.commands import FeatureCommands
from rank_svc.features.store import VideoDirectory
from svc_kit.bus.port import Bus
from svc_kit.bus.runner import Envelope, decode

GROUP = "rank.features"
TOPICS = ("video", "watch", "engagement", "feed", "follow", "account", "moderation")
REBUILD_GROUP = "rank.features.rebuild"
_POLL = 500


class FeatureHandler:
    """See `svc_kit.bus.runner.Handler`."""

    def __init__(self, commands: FeatureCommands) -> None:
        self._commands = commands

    async def handle(self, batch: Sequence[Envelope]) -> None:
        await self._commands.apply([envelope.event for envelope in batch])


class FeatureRebuild:
    """Makes the features anew: videos from media_svc, all else from the log.

    What the worker applies meanwhile is counted once all the same; until the log is read, counts are too low.
    """

    def __init__(self, commands: FeatureCommands, directory: VideoDirectory, bus: Bus) -> None:
        self._commands = commands
        self._directory = directory
        self._bus = bus

    async def run(self) -> int:
        """Returns how many events were read."""
        await self._commands.adopt_videos(self._directory)
        await self._commands.clear()
        try:
            return await self._replay()
        finally:
            await self._bus.drop_group(REBUILD_GROUP)

    async def _replay(self) -> int:
        count = 0
        ends = {position: end for position, end in (await self._bus.ends(TOPICS)).items() if end}
        async with self._bus.consumer(REBUILD_GROUP, TOPICS) as consumer:
            await consumer.seek(dict.fromkeys(ends, 0))
            while ends:
                deliveries = await consumer.poll(_POLL, 1.0)
                if not deliveries:
                    if await self._bus.lag(REBUILD_GROUP, TOPICS):
                        continue  # slow, not at the end: what is left out now would never be counted
                    break
                await self._commands.apply([decode(delivery).event for delivery in deliveries], anew=True)
                await consumer.commit(deliveries)
                count += len(deliveries)
                for delivery in deliveries:
                    position = (delivery.record.topic, delivery.partition)
                    if delivery.offset + 1 >= ends.get(position, 0):
                        ends.pop(position, None)
        return count
