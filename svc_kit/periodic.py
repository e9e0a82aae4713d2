"""What is done again and again beside the servers."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

from svc_kit.clock import Clock
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

PRUNE_S = 600.0
MOST_ROUNDS = 100

_log = log(__name__)

Prune = Callable[[], Awaitable[int]]
"""Removes some of what has served its time; how many, 0 when nothing is left."""


def every(
    clock: Clock, seconds: float, step: Callable[[], Awaitable[object]], name: str
) -> Callable[[], Awaitable[None]]:
    """What a `Job` runs: `step` at once and then every `seconds`. While a dependency is down it goes on trying."""

    async def run() -> None:
        while True:
            await _unless_down(step, name)
            await clock.sleep(seconds)

    return run


def pruning(clock: Clock, prunes: Sequence[Prune], name: str) -> Callable[[], Awaitable[None]]:
    """What a `Job` runs: each of `prunes` until it has nothing left, at once and then about every ten minutes; one
    that can't does not hold up the others."""

    async def run() -> None:
        while True:
            for prune in prunes:
                for _ in range(MOST_ROUNDS):
                    if not await _unless_down(prune, name):
                        break
            # Processes that started together should not all write at once.
            await clock.sleep(PRUNE_S * random.uniform(0.8, 1.2))

    return run


async def _unless_down(step: Callable[[], Awaitable[object]], name: str) -> object:
    """What `step` answers; None when a dependency is down."""
    try:
        return await step()
    except Exception as error:
        if not is_transient(error):
            raise
        _log.warning("job waits", job=name, error=str(error))
        return None
