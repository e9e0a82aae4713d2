"""Partitions by time: which one a moment belongs to, which ones are kept, how long a row still lives."""

from __future__ import annotations

from collections.abc import Iterator

from svc_kit.clock import Clock, now_ms
from svc_kit.ids import EPOCH_MS

DAY_MS = 24 * 3_600_000
MAX_TTL_S = 20 * 365 * 24 * 3600
"""The server takes no more."""


class Buckets:
    """Buckets of `days` days since 2026-01-01, numbered from 0, of which the last `keep_days` days are kept. What is
    older than 2026 counts to the first."""

    def __init__(self, clock: Clock, days: int, keep_days: int) -> None:
        self._clock = clock
        self._span_ms = days * DAY_MS
        self._keep_ms = keep_days * DAY_MS

    def of(self, at_ms: int) -> int:
        """The bucket of a moment."""
        return max(0, at_ms - EPOCH_MS) // self._span_ms

    def end_ms(self, bucket: int) -> int:
        """When it ends."""
        return EPOCH_MS + (bucket + 1) * self._span_ms

    def newest(self) -> int:
        """The bucket of the present, or of a clock that is an hour ahead."""
        return self.of(now_ms(self._clock) + 3_600_000)

    def oldest(self) -> int:
        """The last bucket that may still have rows."""
        return self.of(now_ms(self._clock) - self._keep_ms)

    def below(self, bucket: int) -> Iterator[int]:
        """Kept buckets older than this one, newest first."""
        return iter(range(bucket - 1, self.oldest() - 1, -1))

    def ttl_s(self, at_ms: int) -> int:
        """Seconds that a row of this moment still has; 0 when its time is over."""
        return max(0, min(at_ms + self._keep_ms - now_ms(self._clock), MAX_TTL_S * 1000)) // 1000
