"""`make smoke`: a fresh instance, walked as a client over HTTP and WebSocket. Exits 0, or names the step that
failed."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.e2e.instance import instance
from tests.e2e.steps import accounts, discovery, live_updates, platform, playback, social, uploads, visibility
from tests.e2e.world import open_world

STEPS = (
    *accounts.STEPS,
    *uploads.STEPS,
    *playback.STEPS,
    *social.STEPS,
    *live_updates.STEPS,
    *discovery.STEPS,
    *visibility.STEPS,
    *platform.STEPS,
)
LONGEST_STEP_S = 90.0


async def walk(folder: Path) -> bool:
    """Walk all steps; false, and the step's name, when one fails."""
    began = time.monotonic()
    async with instance(folder / "data") as running, open_world(running, folder) as world:
        print(f"ok   {time.monotonic() - began:6.1f} s  start: {running.url}", flush=True)
        for step in STEPS:
            name = f"{step.__module__.rpartition('.')[2]}: {(step.__doc__ or step.__name__).strip()}"
            started = time.monotonic()
            try:
                async with asyncio.timeout(LONGEST_STEP_S):
                    await step(world)
            except Exception:
                print(f"FAIL {time.monotonic() - started:6.1f} s  {name}", flush=True)
                traceback.print_exc()
                print(f"log: {(folder / 'data.log').read_text()[-3000:]}", file=sys.stderr)
                return False
            print(f"ok   {time.monotonic() - started:6.1f} s  {name}", flush=True)
    print(f"{len(STEPS)} passed, 0 failed")
    print(f"the whole walk took {time.monotonic() - began:.1f} s")
    return True


def main() -> int:
    """Run in a temporary folder; the exit status."""
    with tempfile.TemporaryDirectory(prefix="reelgraph-smoke-") as folder:
        return 0 if asyncio.run(walk(Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())
