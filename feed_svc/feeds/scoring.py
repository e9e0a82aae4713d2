"""The value of a candidate for a page: the ranker's, joined by what the sources say, and what the rules take off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from feed_svc.feeds.curiosity import curiosity
from feed_svc.feeds.sources import Merged
from feed_svc.feeds.taste import Taste

RANKER = 0.75
FUSION = 0.15
FOLLOWED = 0.10
NOW_TRENDING = 0.03
REFUSED_AUTHOR = 0.6
REFUSED_TOPIC = 0.3
SHOWN_BEFORE = 0.25
UNRANKED = 2.0
"""Candidates that the ranker did not see come behind all that it saw."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What settings say of a candidate's worth, beside the constants above."""

    young_hours: float
    freshness: float
    """Of a video of just now; less by e for each `young_hours`."""
    curiosity: float
    """Of topics that the viewer met little of, see `curiosity.curiosity`."""
    hot_above: float
    """What trending credits a video with that nobody watched: only more than this is trending."""


def scores_of(
    videos: Sequence[Merged],
    ranked: Mapping[int, float],
    *,
    followees: AbstractSet[int],
    shown: AbstractSet[int],
    taste: Taste,
    ages_h: Mapping[int, float],
    worth: Worth,
) -> dict[int, float]:
    """One value a video, higher is better. Without any ranks, sources and freshness decide alone.

    The ranker's values and the fusion of sources are spread over 0 to 1 before they are mixed; `shown` were served to
    this viewer lately and not watched.
    """
    value = _spread({v.video_id: ranked[v.video_id] for v in videos if v.video_id in ranked})
    fusion = _spread({v.video_id: v.score for v in videos})
    curious = curiosity(
        {v.video_id: v.hashtags[0] if v.hashtags else "" for v in videos}, taste.familiar, taste.unknown
    )
    scores = {}
    for video in videos:
        score = FUSION * fusion[video.video_id]
        if video.video_id in value:
            score += RANKER * value[video.video_id]
        elif value:
            score -= UNRANKED
        score += FOLLOWED * (video.author_id in followees)
        score += NOW_TRENDING * (video.heat > worth.hot_above)
        score += worth.freshness * math.exp(-ages_h.get(video.video_id, 0.0) / worth.young_hours)
        score += worth.curiosity * curious[video.video_id]
        score -= REFUSED_AUTHOR * taste.refused_authors.get(video.author_id, 0.0)
        score -= REFUSED_TOPIC * max((taste.refused_topics.get(tag, 0.0) for tag in video.hashtags), default=0.0)
        score -= SHOWN_BEFORE * (video.video_id in shown)
        scores[video.video_id] = score
    return scores


def _spread(values: Mapping[int, float]) -> dict[int, float]:
    """Values spread over 0 to 1; 0.5 when all are the same."""
    if not values:
        return {}
    low, high = min(values.values()), max(values.values())
    if not high - low > 0:
        return dict.fromkeys(values, 0.5)
    return {key: (value - low) / (high - low) for key, value in values.items()}
