"""A process that publishes until it is killed, and says which events were acknowledged.

`python -m tests.contract.bus_child URL FIRST`: ids from FIRST on.
"""

from __future__ import annotations

import asyncio
import sys

from svc_kit.bus.port import Bus, Record
from svc_kit.bus.schemes import open_bus
from svc_kit.clock import SystemClock

WRITERS = 4


async def _publish_for_ever(bus: Bus, first: int, step: int) -> None:
    event_id = first
    while True:
        await bus.publish([Record("account", event_id % 50, event_id, f"account:{event_id}", b"x" * 200)])
        sys.stdout.write(f"{event_id}\n")
        sys.stdout.flush()
        event_id += step


async def main(url: str, first: int) -> None:
    """Publish from several tasks at once, so that they share transactions."""
    bus = await open_bus(url, SystemClock())
    await asyncio.gather(*(_publish_for_ever(bus, first + i, WRITERS) for i in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
