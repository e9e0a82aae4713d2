"""Features of videos as columns: rates drawn to priors while little is known, and compared within a length only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from rank_svc.features.decay import DAY_MS, HOUR_MS, sum_at
from rank_svc.features.lengths import Typical, bucket_of
from rank_svc.features.store import VideoFacts, VideoRecord, VideoStats

Column = NDArray[np.float32]

UNKNOWN_DURATION_MS = 15_000
FRESH_HALF_LIFE_HOURS = 48.0
# (prior rate, how many observations it weighs)
LIKES, SHARES, COMMENTS, SKIPS, REFUSALS = (0.04, 30), (0.01, 60), (0.01, 60), (0.25, 10), (0.01, 50)
LENGTH_PRIOR = 8.0
"""How many watches the typical rate of a length weighs against a video's own."""

_COUNTS = (
    *("impressions", "views", "completions", "skips", "ratio_sum"),
    *("likes", "shares", "comments", "not_interested"),
)
_counts = attrgetter(*_COUNTS)
_UNKNOWN = VideoRecord(VideoFacts(0, 0, duration_ms=UNKNOWN_DURATION_MS), VideoStats())


def video_columns(
    records: Sequence[VideoRecord | None], lengths: Sequence[Typical], now_ms: int
) -> Mapping[str, Column]:
    """[n] by name; None is a video of which nothing is known. `lengths`: what is typical, by bucket."""
    filled = [record or _UNKNOWN for record in records]
    n = len(filled)
    counts = np.array([_counts(r.stats) for r in filled], np.float64).reshape(n, len(_COUNTS))
    c = dict(zip(_COUNTS, counts.T, strict=True))
    durations = [r.facts.duration_ms or UNKNOWN_DURATION_MS for r in filled]
    kinds = [lengths[bucket_of(duration)] for duration in durations]
    completion = np.array([kind.completion for kind in kinds])
    ratio = np.array([kind.ratio for kind in kinds])
    published = [r.facts.published_at_ms or now_ms for r in filled]
    age_hours = np.maximum(now_ms - np.array(published, np.float64), 0) / HOUR_MS
    views = c["views"]
    found = {
        "impressions": c["impressions"],
        "views": views,
        "views_1h": np.array([sum_at(r.stats.heat_1h, now_ms, HOUR_MS) for r in filled]),
        "views_24h": np.array([sum_at(r.stats.heat_24h, now_ms, DAY_MS) for r in filled]),
        "completion_rate": (c["completions"] + LENGTH_PRIOR * completion) / (views + LENGTH_PRIOR),
        "watch_ratio": (c["ratio_sum"] + LENGTH_PRIOR * ratio) / (views + LENGTH_PRIOR),
        "like_rate": _rate(c["likes"], views, LIKES),
        "share_rate": _rate(c["shares"], views, SHARES),
        "comment_rate": _rate(c["comments"], views, COMMENTS),
        "skip_rate": _rate(c["skips"], views, SKIPS),
        "negative_rate": _rate(c["not_interested"], np.maximum(c["impressions"], views), REFUSALS),
        "age_hours": age_hours,
        "freshness": 2.0 ** (-age_hours / FRESH_HALF_LIFE_HOURS),
        "duration_s": np.array(durations) / 1000,
        "typical_watch_s": np.array([k.watch_ms(d) / 1000 for k, d in zip(kinds, durations, strict=True)]),
        "author_followers": np.array([r.author_followers for r in filled], np.float64),
        "known": np.array([record is not None for record in records], np.float64),
        "typical_completion": completion,
    }
    found["completion_lift"] = found["completion_rate"] - completion
    found["watch_lift"] = found["watch_ratio"] - ratio
    return {name: column.astype(np.float32) for name, column in found.items()}


def _rate(hits: NDArray[np.float64], of: NDArray[np.float64], prior: tuple[float, int]) -> NDArray[np.float64]:
    rate, weight = prior
    return np.minimum((hits + rate * weight) / (of + weight), 1.0)
