"""`make smoke`: the platform walked as a client over HTTP and WebSocket. Exits 0, or names the step that failed.

`ENGINES=embedded` (default): a fresh `reelgraph serve all`. `ENGINES=production`: every role a process of its own, with
mutual TLS between them, on the real servers that `make servers` started.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from tests.e2e import outcome
from tests.e2e.cluster import Cluster, layout, running
from tests.e2e.instance import Instance, instance
from tests.e2e.steps import (
    accounts,
    discovery,
    live_updates,
    platform,
    playback,
    processes,
    social,
    uploads,
    visibility,
)
from tests.e2e.world import Step, open_world

WALK: Sequence[Step] = (
    *accounts.STEPS,
    *uploads.STEPS,
    *playback.STEPS,
    *social.STEPS,
    *live_updates.STEPS,
    *discovery.STEPS,
    *visibility.STEPS,
    *platform.STEPS,
)
"""Not about engines: what these steps come to is the same on all, word for word."""
LONGEST_STEP_S = 90.0


@asynccontextmanager
async def _embedded(folder: Path) -> AsyncIterator[Instance]:
    async with instance(folder / "data") as started:
        yield started


@asynccontextmanager
async def _production(folder: Path) -> AsyncIterator[Cluster]:
    from tests.e2e.production import fresh_engines

    async with fresh_engines() as engines:
        async with running(layout(folder / "cluster", engines, {"graph": 2})) as started:
            yield started


Engines = Callable[[Path], AbstractAsyncContextManager[Instance | Cluster]]
SETS: dict[str, tuple[Engines, Sequence[Step]]] = {
    "embedded": (_embedded, platform.EMBEDDED_STEPS),
    "production": (_production, processes.STEPS),
}


async def walk(folder: Path, engines: str) -> bool:
    """Walk all steps; false, and the step's name, when one fails."""
    began = time.monotonic()
    start, engine_steps = SETS[engines]
    async with start(folder) as started, open_world(started, folder) as world:
        print(f"ok   {time.monotonic() - began:6.1f} s  start: {started.url}", flush=True)
        same = outcome.same([f"ok   {_name(step)}" for step in WALK])
        steps = [*WALK, same, *engine_steps]
        for step in steps:
            at = time.monotonic()
            try:
                async with asyncio.timeout(LONGEST_STEP_S):
                    await step(world)
            except Exception:
                print(f"FAIL {time.monotonic() - at:6.1f} s  {_name(step)}", flush=True)
                traceback.print_exc()
                print(f"log: {started.log_tail()}", file=sys.stderr)
                return False
            print(f"ok   {time.monotonic() - at:6.1f} s  {_name(step)}", flush=True)
    print(f"{len(steps)} passed, 0 failed")
    print(f"the whole walk took {time.monotonic() - began:.1f} s")
    return True


def _name(step: Step) -> str:
    return f"{step.__module__.rpartition('.')[2]}: {(step.__doc__ or step.__name__).strip()}"


def main() -> int:
    """Run in a temporary folder; the exit status."""
    engines = os.environ.get("ENGINES") or "embedded"
    if engines not in SETS:
        print(f"ENGINES={engines}: unknown; valid: {', '.join(SETS)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="reelgraph-smoke-") as folder:
        return 0 if asyncio.run(walk(Path(folder), engines)) else 1


if __name__ == "__main__":
    sys.exit(main())
