"""The bus by URL."""

from __future__ import annotations

from svc_kit.backends import resolve
from svc_kit.bus import SCHEMES
from svc_kit.bus.port import Bus
from svc_kit.clock import Clock


async def open_bus(url: str, clock: Clock, setting: str = "REELGRAPH_BUS_URL") -> Bus:
    """Open the bus at `url`; `setting` names the setting in errors. Raises `svc_kit.backends.UnknownScheme`."""
    bus: Bus = await resolve(setting, url, SCHEMES).open(url, clock)
    return bus
