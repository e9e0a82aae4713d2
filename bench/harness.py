"""What benchmarks share: an instance with the demo world, percentiles, the CPU time of another process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from launcher.demo.world import fill
from tests.e2e.instance import Instance, start

TICKS = os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def demo_instance() -> AsyncIterator[Instance]:
    """A served demo world; `REELGRAPH_BENCH_DATA` names a folder to keep it in between runs."""
    kept = os.environ.get("REELGRAPH_BENCH_DATA")
    with tempfile.TemporaryDirectory(prefix="reelgraph-bench-") as folder:
        running = await start(Path(kept or folder) / "data")
        try:
            await fill(running.url)
            yield running
        finally:
            await running.stop()


def cpu_s(pid: int) -> float:
    """User and system CPU seconds that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def line(what: str, seconds: Sequence[float], cpu: float) -> str:
    """One row: milliseconds at p50 and p99, CPU milliseconds an operation."""
    half, most = percentile(seconds, 0.5) * 1000, percentile(seconds, 0.99) * 1000
    return f"{what:<34} p50 {half:7.2f} ms   p99 {most:7.2f} ms   server CPU {cpu * 1000 / len(seconds):6.2f} ms each"
