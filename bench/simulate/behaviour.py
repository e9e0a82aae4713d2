"""What a viewer does with a video. The model, with z the standard logistic function:

    finishes   z(-1.8 + 3.2 match + 1.0 quality - 0.5 log2(length / 25 s) - 0.02 position)
    otherwise swipes away within 0.5 to 2 s with probability z(0.4 - 2.5 match - 0.7 quality),
    else watches a share of it, Beta(1.5, 2.5)
    likes      if finished: 0.03 + 0.25 match z(quality)
    follows    if liked: 0.15
    says "not interested" if swiped away: 0.03
    leaves     after each video: 0.01, and 0.08 more for each video in a row (from the second on) that was swiped away

`match` is 0 to 1 (the viewer's hidden taste), `quality` normal (the video's own), `position` counts within the session.
The coefficients are chosen, not fitted, and not to this feed: a person finishes about one in seven of random videos and
about three in four of those that suit them best.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a viewer did with one video."""

    watched_ms: int
    completed: bool
    skipped: bool
    liked: bool
    followed: bool
    refused: bool


@dataclass(slots=True)
class Session:
    """A sitting: how long the viewer stays depends on what they are shown."""

    dice: random.Random
    position: int = 0
    boredom: int = 0

    def react(self, match: float, quality: float, duration_ms: int) -> Reaction:
        """Watch one video."""
        dice = self.dice
        drawn = [dice.random() for _ in range(5)]
        # Every video takes the same dice, whatever comes of it: runs that differ in one video differ in little else.
        partial, early = dice.betavariate(1.5, 2.5), dice.uniform(500, 2000)
        length = 0.5 * math.log2(duration_ms / 25_000)
        completed = drawn[0] < _z(-1.8 + 3.2 * match + quality - length - 0.02 * self.position)
        skipped = not completed and drawn[1] < _z(0.4 - 2.5 * match - 0.7 * quality)
        watched = duration_ms if completed else min(early, duration_ms * 0.2) if skipped else duration_ms * partial
        liked = completed and drawn[2] < 0.03 + 0.25 * match * _z(quality)
        self.position += 1
        self.boredom = self.boredom + 1 if skipped else 0
        return Reaction(int(watched), completed, skipped, liked, liked and drawn[3] < 0.15, skipped and drawn[4] < 0.03)

    def leaves(self) -> bool:
        """Whether the viewer ends the session now."""
        return self.dice.random() < 0.01 + 0.08 * max(0, self.boredom - 1)


def _z(x: float) -> float:
    return 1 / (1 + math.exp(-x))
