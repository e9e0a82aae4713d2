"""Who publishes what, and who watches: all that a seed decides before anybody acts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from bench.simulate.tastes import Kind, Population, Taste

VIDEOS_A_CREATOR = 8
UNKNOWN_SHARE = 0.5
"""Of the new videos: by creators who publish for the first time."""
FOLLOWED_AT_FIRST = 3
GOOD = 0.7
"""Quality from which a video is a good one: about one in four."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything. `watches` a viewer before their taste changes, `after` it."""

    viewers: int
    videos: int
    watches: int
    after: int
    page: int = 5
    new_share: float = 0.2
    """Of the videos: published while people watch."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One video of the plan."""

    number: int
    creator: int
    kind: Kind
    quality: float
    """Hidden, normal with mean 0 and deviation 1: how well it is made, whatever it is about."""
    is_new: bool
    is_unknown: bool
    """Its creator had published nothing before."""


@dataclass(frozen=True, slots=True)
class Person:
    """One viewer of the plan."""

    number: int
    taste: Taste
    later: Taste
    """What they like after the change: no hashtag in common."""
    follows: tuple[int, ...]
    """Creators followed from the start in the world of `FollowingOnly`, which shows nothing without: two of the taste
    if there are so many, the rest anybody. Everywhere else people come as strangers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything, the old videos first."""

    clips: Sequence[Clip]
    people: Sequence[Person]
    creators: int

    def chance(self, taste: Taste) -> float:
        """Share of the catalogue within a taste: what a random feed shows."""
        return sum(in_taste(clip, taste) for clip in self.clips) / len(self.clips)


def in_taste(clip: Clip, taste: Taste) -> bool:
    """Whether a video has a hashtag of a taste."""
    return any(tag in taste for tag in clip.kind.tags)


def match(clip: Clip, taste: Taste) -> float:
    """How well a video suits a taste, 0 to 1: its best hashtag."""
    return max((taste.get(tag, 0.0) for tag in clip.kind.tags), default=0.0)


def plan(sizes: Sizes, population: Population, seed: int) -> Plan:
    """The plan of a seed. Creators have a topic each and keep to it."""
    dice = random.Random(f"plan/{seed}")
    kinds = sorted(dice.sample(list(population.kinds), min(sizes.videos, len(population.kinds))), key=_topic)
    kinds += [dice.choice(population.kinds) for _ in range(sizes.videos - len(kinds))]
    # Sorted by topic, neighbours are one creator's; then the order of publishing is drawn.
    made_by = [(kind, number // VIDEOS_A_CREATOR) for number, kind in enumerate(sorted(kinds, key=_topic))]
    dice.shuffle(made_by)
    old = sizes.videos - int(sizes.videos * sizes.new_share)
    creators = -(-sizes.videos // VIDEOS_A_CREATOR)
    clips = []
    for number, (kind, creator) in enumerate(made_by):
        unknown = number >= old and dice.random() < UNKNOWN_SHARE
        if unknown:
            creator, creators = creators, creators + 1
        clips.append(Clip(number, creator, kind, dice.gauss(0, 1), number >= old, unknown))
    people = [_person(number, population, clips[:old], dice) for number in range(sizes.viewers)]
    return Plan(clips, people, creators)


def _topic(kind: Kind) -> str:
    return kind.tags[0]


def _person(number: int, population: Population, old: Sequence[Clip], dice: random.Random) -> Person:
    taste = dice.choice(population.tastes)
    others = [other for other in population.tastes if not set(other) & set(taste)]
    mine = sorted({clip.creator for clip in old if in_taste(clip, taste)})
    follows = dice.sample(mine, min(FOLLOWED_AT_FIRST - 1, len(mine)))
    anybody = sorted({clip.creator for clip in old} - set(follows))
    follows += dice.sample(anybody, min(FOLLOWED_AT_FIRST - len(follows), len(anybody)))
    return Person(number, taste, dice.choice(others), tuple(follows))
