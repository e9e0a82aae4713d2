"""`reelgraph replay GROUP`: a consumer group reads the log again from an offset. Consumers are idempotent: nothing
changes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import typer

from svc_kit.backends import resolve
from svc_kit.bus import SCHEMES as BUS_SCHEMES
from svc_kit.bus.port import Bus
from svc_kit.clock import SystemClock
from svc_kit.ids import DirectoryLock
from svc_kit.settings import PlatformSettings


async def replay_group(settings: PlatformSettings, name: str, offset: int) -> None:
    """Move the committed offsets of group `name` back to `offset` in every partition; the next start delivers from
    there. `list` names the groups, `all` means each. Raises ValueError for an unknown one."""
    url = settings.embedded_url("bus", "sqlite:///{dir}/bus.db")
    # Another process may hold a bus in the data folder; a server's group tells by itself that it is in use.
    with contextlib.nullcontext() if settings.bus_url else DirectoryLock(settings.data_dir):
        bus: Bus = await resolve("REELGRAPH_BUS_URL", url, BUS_SCHEMES).open(url, SystemClock())
        try:
            known = await bus.groups()
            if name == "list":
                typer.echo("\n".join(known))
                return
            if name != "all" and name not in known:
                raise ValueError(f"unknown group {name}; valid: all, {', '.join(known)}")
            for group in known if name == "all" else [name]:
                behind = await _move(bus, group, known[group], offset)
                typer.echo(f"{group}: will read {behind} records")
        finally:
            await bus.close()


async def _move(bus: Bus, group: str, topics: Sequence[str], offset: int) -> int:
    """Of its own topics only: one that it never reads would hold up retention for ever. How many records lie ahead."""
    ends = await bus.ends(topics)
    async with bus.consumer(group, topics) as consumer:
        await consumer.seek({position: min(offset, end) for position, end in ends.items()})
    return await bus.lag(group, topics)
