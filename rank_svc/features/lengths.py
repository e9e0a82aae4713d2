"""Videos of about one length: what is typical for them is what a single one is measured against.

A 3 s clip watched to its end says less than a 60 s one: rates are compared within a bucket only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from rank_svc.features.store import BucketStats

EDGES_MS = (5_000, 10_000, 20_000, 40_000, 90_000)
"""Upper bounds of all buckets but the last, exclusive."""

PRIOR_VIEWS = 20.0
"""How many watches the prior of a bucket weighs."""
# Typical share of watches to the end, and share watched, by bucket, before anything was measured.
_COMPLETION = (0.70, 0.55, 0.42, 0.30, 0.20, 0.12)
_RATIO = (0.85, 0.72, 0.60, 0.48, 0.36, 0.25)


def bucket_of(duration_ms: int) -> int:
    """The bucket of a length, from 0."""
    return bisect_right(EDGES_MS, max(duration_ms, 0))


@dataclass(frozen=True, slots=True)
class Typical:
    """What is typical for a length."""

    completion: float
    """Share of watches that reach the end."""
    ratio: float
    """Mean share of the length that is watched."""

    def watch_ms(self, duration_ms: int) -> float:
        """Typical milliseconds watched of a video of this length."""
        return max(self.ratio * duration_ms, 500.0)


def typical(buckets: Mapping[int, BucketStats]) -> tuple[Typical, ...]:
    """By bucket; measured rates, drawn to the prior while there are few watches."""
    found = []
    for bucket, (completion, ratio) in enumerate(zip(_COMPLETION, _RATIO, strict=True)):
        stats = buckets.get(bucket, BucketStats())
        views = stats.views + PRIOR_VIEWS
        found.append(
            Typical(
                (stats.completions + completion * PRIOR_VIEWS) / views, (stats.ratio_sum + ratio * PRIOR_VIEWS) / views
            )
        )
    return tuple(found)
