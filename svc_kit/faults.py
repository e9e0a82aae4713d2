"""Named points where a test may kill the process, to prove that nothing acknowledged is lost there."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Mapping

CrashPoint = Callable[[str], Awaitable[None]]
"""Called at a named point. Does nothing, or does not return."""

VARIABLE = "REELGRAPH_CRASH_AT"


def crash_points(environ: Mapping[str, str] | None = None) -> CrashPoint:
    """The crash points of one object: `REELGRAPH_CRASH_AT=<name>[:<n>]` is SIGKILL at the n-th hit (default 1) of
    `name`.

    Does nothing when the variable is unset, and never anything in production.
    """
    environ = os.environ if environ is None else environ
    wanted, _, hits = environ.get(VARIABLE, "").partition(":")
    if not wanted or environ.get("REELGRAPH_MODE") == "production":
        return _pass
    left = int(hits or 1)

    async def crash_point(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return crash_point


async def _pass(_name: str) -> None:
    return None
