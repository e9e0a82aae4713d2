"""Sums of weights that halve with age, kept as one number that never needs to be aged.

By forward decay: a weight w at time t adds w * 2**((t - landmark) / half-life), and heat is log2 of that sum. So heats
of different videos compare without knowing the time, the order of events does not matter, and nothing overflows.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

LANDMARK_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def heat_of(weight: float, at_ms: int, half_life_ms: int) -> float | None:
    """The heat of one weight at one time; None for a weight that is not positive."""
    if weight <= 0:
        return None
    return math.log2(weight) + (at_ms - LANDMARK_MS) / half_life_ms


def join(a: float | None, b: float | None) -> float | None:
    """The heat of both sums together."""
    if a is None or b is None:
        return a if b is None else b
    high, low = max(a, b), min(a, b)
    return high + math.log2(1.0 + 2.0 ** max(low - high, -1000.0))


def sum_at(heat: float | None, now_ms: int, half_life_ms: int) -> float:
    """The sum of weights, each halved for every half-life of its age, at `now_ms`."""
    if heat is None:
        return 0.0
    return float(2.0 ** min(heat - (now_ms - LANDMARK_MS) / half_life_ms, 60.0))
