"""What a viewer's latest actions and chosen interests say of their taste."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from feed_svc.feeds.curiosity import familiar, unknown
from feed_svc.feeds.store import Interaction

INTEREST_WEIGHT = 1.0
REFUSED_TOPIC = 0.5
REFUSED_AUTHOR = 1.0


@dataclass(frozen=True, slots=True)
class Taste:
    """Hashtags that a viewer is known to like, and what they wanted no more of."""

    hashtags: Mapping[str, float]
    """Weight by hashtag, all above 0."""
    interests: frozenset[str]
    good_videos: frozenset[int]
    """Liked or finished."""
    refused_authors: Mapping[int, float]
    refused_topics: Mapping[str, float]
    familiar: Mapping[str, float] = field(default_factory=dict)
    """How often they met each hashtag lately, see `curiosity.familiar`."""
    unknown: float = 1.0
    """See `curiosity.unknown`."""

    @property
    def is_known(self) -> bool:
        """Whether a reason may speak of the viewer's taste at all."""
        return bool(self.hashtags or self.good_videos)

    def match(self, hashtags: Sequence[str]) -> str:
        """The hashtag among these that the viewer likes best; empty when none is known."""
        known = [tag for tag in hashtags if tag in self.hashtags]
        return max(known, key=lambda tag: self.hashtags[tag], default="")


def taste_of(recent: Sequence[Interaction], interests: Sequence[str]) -> Taste:
    """The taste of a viewer. A watch counts by its completion, a like as a finished one more, a skip against."""
    weights: defaultdict[str, float] = defaultdict(float)
    authors: Counter[int] = Counter()
    topics: Counter[str] = Counter()
    good = set()
    for act in recent:
        if act.not_interested:
            authors[act.author_id] += 1
            topics.update(act.hashtags[:1])
            continue
        if act.liked or act.completed:
            good.add(act.video_id)
        worth = (1.0 if act.liked else 0.0) + _worth(act)
        for tag in act.hashtags:
            weights[tag] += worth
    for tag in interests:
        weights[tag] += INTEREST_WEIGHT
    return Taste(
        {tag: weight for tag, weight in weights.items() if weight > 0},
        frozenset(interests),
        frozenset(good),
        {author: min(1.0, REFUSED_AUTHOR * count) for author, count in authors.items()},
        {topic: min(1.0, REFUSED_TOPIC * count) for topic, count in topics.items()},
        familiar(recent),
        unknown(recent),
    )


def _worth(act: Interaction) -> float:
    if act.skipped:
        return -0.5
    if act.completed:
        return 1.0
    return min(1.0, act.watched_ms / act.duration_ms) if act.duration_ms else 0.0
