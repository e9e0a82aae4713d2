"""Forgetting what has served its time: one job for all that a service keeps for a while."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

from svc_kit.clock import Clock
from svc_kit.errors import AppError
from svc_kit.telemetry import log

EVERY_S = 600.0
MOST_ROUNDS = 100

_log = log(__name__)


async def keep_tidy(prunes: Sequence[Callable[[], Awaitable[int]]], clock: Clock) -> None:
    """Run each of `prunes` until it has nothing left, every ten minutes, until cancelled."""
    while True:
        for prune in prunes:
            try:
                for _ in range(MOST_ROUNDS):
                    if not await prune():
                        break
            except AppError as error:
                _log.warning("old rows are kept for now", error=error.message)
        await clock.sleep(EVERY_S * random.uniform(0.8, 1.2))
