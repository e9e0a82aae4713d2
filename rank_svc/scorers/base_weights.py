"""The fixed numbers of the base version: what it takes before anything was trained. Chosen by hand, for these reasons:

- taste (the cosine) and what others did (rates against videos of the same length) weigh about the same;
- rates are already drawn to a prior while there are few views, so that one lucky view does not win;
- followed authors, own language and fresh videos are preferred, not enforced: rules do that.
"""

from __future__ import annotations

VERSION = "base-1"
CREATED = "2026-01-01T00:00:00Z"
SEED = 20260101
DIMENSIONS = 64
LEAST_SIMILARITY = 0.2
"""Two random directions in 64 dimensions have a cosine of 0.125 by chance (one standard deviation)."""

TAG_ROWS, AUTHOR_ROWS, LANGUAGE_ROWS = 16381, 8191, 509
"""Rows of the projection tables; primes, so that ids spread whatever their low bits."""
TAG_WEIGHT, AUTHOR_WEIGHT, LANGUAGE_WEIGHT, SOUND_WEIGHT = 1.0, 0.35, 0.2, 0.1
"""An item vector is the normalised weighted sum of its tags' mean direction, author, language and having sound."""

POSITION_DECAY = 0.98
"""The n-th newest interaction weighs this to the power of n."""
INTEREST_WEIGHT = 0.6
"""Of chosen interests against a history, in a user vector."""

# Log-odds: bias and weight of each feature, by objective.
LOGITS: dict[str, tuple[float, dict[str, float]]] = {
    "like": (
        -3.2,
        {
            "affinity": 2.5,
            "like_rate": 6.0,
            "tag_affinity": 0.8,
            "author_affinity": 0.8,
            "followed": 0.7,
            "interest_match": 0.5,
            "negative_rate": -4.0,
            "completion_lift": 1.0,
        },
    ),
    "share": (-4.6, {"affinity": 1.5, "share_rate": 8.0, "like_rate": 2.0, "completion_lift": 1.0}),
    "comment": (-4.2, {"affinity": 1.2, "comment_rate": 8.0, "followed": 0.7, "author_affinity": 0.5}),
    "completion": (
        -2.0,
        {
            "affinity": 2.0,
            "completion_rate": 3.5,
            "watch_lift": 1.5,
            "tag_affinity": 0.8,
            "skip_rate": -1.0,
            "author_affinity": 0.5,
            "interest_match": 0.4,
            "language_match": 0.4,
            "freshness": 0.2,
        },
    ),
    "negative": (
        -1.6,
        {
            "affinity": -2.2,
            "skip_rate": 2.0,
            "negative_rate": 8.0,
            "tag_affinity": -0.8,
            "author_affinity": -1.2,
            "language_match": -0.4,
            "followed": -0.5,
            "completion_lift": -1.0,
        },
    ),
}

WATCH_LOGIT: tuple[float, dict[str, float]] = (
    0.0,
    {
        "affinity": 1.2,
        "watch_lift": 2.0,
        "tag_affinity": 0.5,
        "skip_rate": -0.8,
        "freshness": 0.2,
        "followed": 0.3,
        "interest_match": 0.3,
        "language_match": 0.3,
    },
)
"""watch_ms = 2 * sigmoid(this) * what is typical for the length, at most the length."""
