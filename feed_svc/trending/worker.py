"""Group `feed.trending`: what is done with videos into their order."""

from __future__ import annotations

from collections.abc import Sequence

from feed_svc.trending.commands import TrendingCommands
from svc_kit.bus.runner import Envelope

GROUP = "feed.trending"


class TrendingHandler:
    """Applies events; a repetition changes nothing."""

    def __init__(self, commands: TrendingCommands) -> None:
        self._commands = commands

    async def handle(self, batch: Sequence[Envelope]) -> None:
        await self._commands.apply([envelope.event for envelope in batch])
