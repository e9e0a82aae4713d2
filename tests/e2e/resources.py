"""What processes use: memory, and new connections of the whole machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from svc_kit.ending import cancel_all

SAMPLE_S, WINDOW_S = 0.5, 5.0
SETTLE_S, SETTLED_MIB, SETTLE_AT_MOST_S = 5.0, 4, 45.0


class Resources:
    """Of some processes, by the kernel's own numbers."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = list(pids)

    def rss_mib(self) -> int:
        """Resident memory of those that live."""
        return sum(_rss_kib(pid) for pid in self._pids) // 1024

    async def settled(self) -> None:
        """Wait until memory grows by no more than a few MiB in some seconds: pools, caches and code that is loaded when
        first used are there. At most 45 s: what grows for ever is the rows' to find."""
        before = self.rss_mib()
        for _ in range(int(SETTLE_AT_MOST_S / SETTLE_S)):
            await asyncio.sleep(SETTLE_S)
            now = self.rss_mib()
            if now - before <= SETTLED_MIB:
                return
            before = now


class Connects:
    """New TCP connections of the whole machine, watched over time: an upper bound of the platform's own."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watch while the block lasts."""
        task = asyncio.create_task(self._sample())
        try:
            yield
        finally:
            await cancel_all([task])
            self._samples.append((time.monotonic(), _connects()))

    def forget(self) -> None:
        """What was before is not of interest."""
        self._samples.clear()

    async def _sample(self) -> None:
        while True:
            self._samples.append((time.monotonic(), _connects()))
            await asyncio.sleep(SAMPLE_S)

    def most_per_s(self) -> float:
        """The highest rate over a window of 5 s or a little more."""
        return highest_rate(self._samples, WINDOW_S)


def highest_rate(samples: Sequence[tuple[float, int]], window_s: float) -> float:
    """Of (second, total so far) in order: the most a second from any sample to the first one `window_s` later, or to
    the last."""
    rates = [0.0]
    for at, total in samples[:-1]:
        later = next(((t, n) for t, n in samples if t >= at + window_s), samples[-1])
        if later[0] - at >= min(window_s, samples[-1][0] - samples[0][0]):
            rates.append((later[1] - total) / (later[0] - at))
    return round(max(rates), 1)


def _connects() -> int:
    """TCP connections that were begun on this machine since it started."""
    names, values = (line.split() for line in _tcp_lines())
    return int(values[names.index("ActiveOpens")])


def _rss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def _tcp_lines() -> list[str]:
    return [line for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")]
