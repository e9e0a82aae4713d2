"""How often an address may ask without logging in: a bucket that refills steadily, held in this process."""

from __future__ import annotations

from collections import OrderedDict

from svc_kit.clock import Clock
from svc_kit.errors import rate_limited

MAX_ADDRESSES = 50_000


class AnonymousRate:
    """At most `burst` at once and `per_s` in the long run, an address. The least recent addresses are forgotten."""

    def __init__(self, clock: Clock, per_s: float, burst: int) -> None:
        self._clock = clock
        self._interval_s = 1 / per_s
        self._window_s = burst * self._interval_s
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def take(self, address: str) -> None:
        """Count one request; raises RATE_LIMITED with the time to wait. An unknown address is not limited."""
        if not address:
            return
        now = self._clock.monotonic()
        free_at = max(self._free_at.pop(address, now), now) + self._interval_s
        late_s = free_at - now - self._window_s
        if late_s > 0:
            self._free_at[address] = free_at - self._interval_s
            raise rate_limited("Too many requests from this address.", int(late_s * 1000) + 1)
        self._free_at[address] = free_at
        if len(self._free_at) > MAX_ADDRESSES:
            self._free_at.popitem(last=False)
