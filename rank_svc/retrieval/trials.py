"""Young videos on trial: each is promised some impressions, then it grows or fades by how its first viewers took it.

Completion is compared with what is typical for the length, in standard deviations of the prior, so that no length has
an advantage while nothing is known: a 3 s clip is finished by most, a 60 s one by few. The feed draws among what is
offered here by Thompson sampling (Russo et al., "A Tutorial on Thompson Sampling", 2018); this side only says what is
known, and leaves out what has no chance.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rank_svc.features.lengths import Typical, bucket_of
from rank_svc.features.store import VideoRecord
from svc_kit.trust import damped

PRIOR_WATCHES = 8.0
"""How many watches what is typical for a length weighs against a video's own."""
LEAST_TYPICAL = 0.02
GROWN_EVERY = 3
"""One candidate on trial in this many is one that had its guaranteed impressions, while there are such."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How a young video did so far."""

    video_id: int
    impressions: int
    guaranteed: int
    completions: float
    """Watches to the end that count: a burst of new accounts is worth little."""
    watches: float
    typical: float
    """Completion rate that is typical for its length, within (0, 1)."""

    @property
    def owed(self) -> int:
        """Guaranteed impressions that it still has to get."""
        return max(self.guaranteed - self.impressions, 0)

    def lift(self, deviations: float = 0.0) -> float:
        """Expected completion rate above the typical one, so many posterior deviations further up; in deviations of the
        prior."""
        a = PRIOR_WATCHES * self.typical + self.completions
        n = PRIOR_WATCHES + max(self.watches, self.completions)
        rate = a / n
        high = rate + deviations * math.sqrt(rate * (1 - rate) / (n + 1))
        return (high - self.typical) / math.sqrt(self.typical * (1 - self.typical) / (PRIOR_WATCHES + 1))


def trial_of(record: VideoRecord, lengths: Sequence[Typical], guaranteed: int, allowance: float) -> Trial:
    """The trial of a video from its feature row. `allowance`: how many watches of new accounts count at most, beside as
    many as those of established ones."""
    stats = record.stats
    fresh = max(stats.views - stats.trusted_views, 0.0)
    watches = damped(stats.trusted_views, fresh, allowance)
    kept = (watches - stats.trusted_views) / fresh if fresh > 0 else 0.0
    completions = stats.trusted_completions + kept * max(stats.completions - stats.trusted_completions, 0.0)
    typical = lengths[bucket_of(record.facts.duration_ms)].completion
    typical = min(max(typical, LEAST_TYPICAL), 1 - LEAST_TYPICAL)
    return Trial(record.facts.video_id, stats.impressions, guaranteed, min(completions, watches), watches, typical)


def quality(record: VideoRecord, lengths: Sequence[Typical], allowance: float) -> float:
    """log2 of what a video's popularity is worth by how its viewers took it: 0 where they finish it as often as others
    of its length, below 1 where all do, -1 and less where hardly any does."""
    trial = trial_of(record, lengths, 0, allowance)
    rate = (PRIOR_WATCHES * trial.typical + trial.completions) / (PRIOR_WATCHES + trial.watches)
    return math.log2(2 * rate / (rate + trial.typical))


def in_order(trials: Iterable[Trial]) -> list[Trial]:
    """Those that are owed impressions as they come, then those that had them, who may be best first."""
    every = list(trials)
    grown = sorted((t for t in every if not t.owed), key=lambda t: (-t.lift(deviations=1.0), -t.video_id))
    return [*(trial for trial in every if trial.owed), *grown]


def offered(trials: Sequence[Trial], limit: int) -> list[Trial]:
    """At most `limit` of `trials`, which are `in_order`: two that are owed impressions, then one that had them, and so
    on, so that every beginning of the list holds both."""
    owed = deque(trial for trial in trials if trial.owed)
    grown = deque(trial for trial in trials if not trial.owed)
    found: list[Trial] = []
    while len(found) < limit and (owed or grown):
        turn, other = (grown, owed) if len(found) % GROWN_EVERY == GROWN_EVERY - 1 else (owed, grown)
        found.append((turn or other).popleft())
    return found
