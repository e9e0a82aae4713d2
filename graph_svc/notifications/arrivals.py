"""What a stream has sent of late. Pure.

A log with several writers shows a fact up to `LATE_S` after the place it takes in the order of arrival: what came
behind it may have been sent already. So a stream reads the last seconds again, and leaves out what it has sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from graph_svc.notifications.store import Fact

LATE_S = 5.0
MAX_KEPT = 500


class Arrivals:
    """Facts in the order of arrival, each taken once."""

    def __init__(self, after_id: int) -> None:
        self.after_id = after_id
        """Read from here."""
        self._taken_s: dict[int, float] = {}

    def __len__(self) -> int:
        """How many facts after `after_id` have been taken."""
        return len(self._taken_s)

    def take(self, facts: Sequence[Fact], now_s: float) -> list[Fact]:
        """Of all facts after `after_id`, or the first of them, those that were not taken before; `now_s` is monotonic.
        Moves `after_id` past those before which nothing can appear any more."""
        fresh = [fact for fact in facts if fact.id not in self._taken_s]
        self._taken_s |= dict.fromkeys([fact.id for fact in fresh], now_s)
        for fact in facts:
            if self._taken_s[fact.id] > now_s - LATE_S and len(self._taken_s) <= MAX_KEPT:
                break
            del self._taken_s[fact.id]
            self.after_id = fact.id
        return fresh
