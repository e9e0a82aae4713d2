"""`reelgraph replay GROUP`: a consumer group reads the log again from an offset. Consumers are idempotent: nothing
changes."""

from __future__ import annotations

import typer

from svc_kit.backends import resolve
from svc_kit.bus import SCHEMES as BUS_SCHEMES
from svc_kit.bus.port import TOPICS
from svc_kit.clock import SystemClock
from svc_kit.ids import DirectoryLock
from svc_kit.settings import PlatformSettings


async def replay_group(settings: PlatformSettings, group: str, offset: int) -> None:
    """Move the committed offsets of `group` back to `offset` in every partition; the next start delivers from there."""
    url = settings.embedded_url("bus", "sqlite:///{dir}/bus.db")
    with DirectoryLock(settings.data_dir):
        bus = await resolve("REELGRAPH_BUS_URL", url, BUS_SCHEMES).open(url, SystemClock())
        try:
            ends = await bus.ends(TOPICS)
            async with bus.consumer(group, TOPICS) as consumer:
                await consumer.seek({position: min(offset, end) for position, end in ends.items()})
        finally:
            await bus.close()
    typer.echo(f"{group}: will read {sum(max(0, end - offset) for end in ends.values())} records again")
