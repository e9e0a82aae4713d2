"""What is not known of a viewer yet is worth a look: topics that they met little of come forward, large ones first.

A bonus for uncertainty, as in UCB (Auer, Cesa-Bianchi, Fischer, "Finite-time Analysis of the Multiarmed Bandit
Problem", 2002), over topics instead of videos: without it a feed turns around the first thing that somebody finished.
How much there is of a topic says how many people make it for others: it stands for the chance that it suits somebody.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from feed_svc.feeds.store import Interaction

HALF_LIFE = 15.0
"""After so many more videos a view of a topic counts half: a taste may change."""
HALF_KNOWN = 3.0
"""Somebody who liked or finished so many videos lately is half known."""


def familiar(recent: Sequence[Interaction]) -> dict[str, float]:
    """How often each hashtag was met in `recent` (newest first); one of just now counts 1. Endlessly
    often, when they wanted no more of it."""
    met: defaultdict[str, float] = defaultdict(float)
    for place, act in enumerate(recent):
        for tag in set(act.hashtags):
            met[tag] += math.inf if act.not_interested else 0.5 ** (place / HALF_LIFE)
    return dict(met)


def unknown(recent: Sequence[Interaction]) -> float:
    """How little is known of what somebody likes, 0 to 1, by `recent` (newest first)."""
    loved = sum(math.exp2(-place / HALF_LIFE) for place, act in enumerate(recent) if act.liked or act.completed)
    return HALF_KNOWN / (HALF_KNOWN + loved)


def curiosity(topics: Mapping[int, str], met: Mapping[str, float], unknown: float = 1.0) -> dict[int, float]:
    """By video, 0 to 1: the root of its topic's share of all these videos, over one and how often the viewer met it,
    the less the more is known of them. `topics`: by video; a video without one (empty) says nothing of a taste and gets
    nothing."""
    sizes = Counter(topics.values())
    worth = {
        topic: unknown * math.sqrt(size / len(topics)) / (1 + met.get(topic, 0.0)) for topic, size in sizes.items()
    }
    return {video_id: worth[topic] if topic else 0.0 for video_id, topic in topics.items()}
