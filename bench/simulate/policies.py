"""What decides what is shown: the platform, or one of the rivals that it is measured against."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Protocol

from bench.simulate.behaviour import Reaction
from bench.simulate.plan import Clip, Person, Plan, in_taste, match

Seen = Sequence[tuple[Clip, Reaction]]


class Policy(Protocol):
    """Shows clips to people, in one world of its own."""

    async def publish(self, clip: Clip) -> None:
        """A clip is there from now on."""
        ...

    async def begin(self, person: Person) -> None:
        """A session begins."""
        ...

    async def page(self, person: Person, size: int) -> Sequence[Clip]:
        """What comes next; fewer or none when there is no more."""
        ...

    async def told(self, person: Person, seen: Seen) -> None:
        """What the person made of the last page, as far as they looked."""
        ...

    async def pause(self, seconds: float) -> None:
        """Nobody watches for a while."""
        ...


class _Rival(ABC):
    """A policy that never shows what was seen."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.dice = random.Random(f"{type(self).__name__}/{seed}")
        self.clips: list[Clip] = []
        self.shown: defaultdict[int, set[int]] = defaultdict(set)
        self.finished: Counter[int] = Counter()
        self.follows: defaultdict[int, set[int]] = defaultdict(set)

    async def publish(self, clip: Clip) -> None:
        self.clips.append(clip)

    async def begin(self, person: Person) -> None:
        return None

    async def page(self, person: Person, size: int) -> Sequence[Clip]:
        left = [clip for clip in self.clips if clip.number not in self.shown[person.number]]
        page = self.choose(person, left, size)
        self.shown[person.number].update(clip.number for clip in page)
        return page

    @abstractmethod
    def choose(self, person: Person, left: Sequence[Clip], size: int) -> Sequence[Clip]:
        """Up to `size` of what is left for this person."""

    async def told(self, person: Person, seen: Seen) -> None:
        for clip, reaction in seen:
            self.finished[clip.number] += reaction.completed
            if reaction.followed:
                self.follows[person.number].add(clip.creator)

    async def pause(self, seconds: float) -> None:
        return None


class AtRandom(_Rival):
    """Any clip: what chance shows."""

    def choose(self, person: Person, left: Sequence[Clip], size: int) -> Sequence[Clip]:
        return self.dice.sample(list(left), min(size, len(left)))


class MostPopular(_Rival):
    """What was watched to the end most often so far, by anybody."""

    def choose(self, person: Person, left: Sequence[Clip], size: int) -> Sequence[Clip]:
        return sorted(left, key=lambda clip: (-self.finished[clip.number], self.dice.random()))[:size]


class FollowingOnly(_Rival):
    """The newest of the creators that the person follows; their feed may end. Here people come with three follows, or
    it would show nothing."""

    def __init__(self, plan: Plan, seed: int) -> None:
        super().__init__(plan, seed)
        self.follows.update({person.number: set(person.follows) for person in plan.people})

    def choose(self, person: Person, left: Sequence[Clip], size: int) -> Sequence[Clip]:
        mine = [clip for clip in left if clip.creator in self.follows[person.number]]
        return mine[::-1][:size]


class Oracle(_Rival):
    """Knows the hidden tastes and qualities and shows the taste alone, the best first: no rival but the most that a
    catalogue of this size holds for them. It knows of the change of taste, too, as no feed can."""

    def __init__(self, plan: Plan, seed: int, watches: int) -> None:
        super().__init__(plan, seed)
        self.watches = watches
        self.watched: Counter[int] = Counter()

    def choose(self, person: Person, left: Sequence[Clip], size: int) -> Sequence[Clip]:
        taste = person.later if self.watched[person.number] >= self.watches else person.taste
        return sorted(left, key=lambda clip: (not in_taste(clip, taste), -3.2 * match(clip, taste) - clip.quality))[
            :size
        ]

    async def told(self, person: Person, seen: Seen) -> None:
        self.watched[person.number] += len(seen)
        await super().told(person, seen)


def rivals(plan: Plan, seed: int, watches: int) -> dict[str, Policy]:
    """Each in a world of its own, by name. `watches`: when tastes change."""
    return {
        "random": AtRandom(plan, seed),
        "popularity": MostPopular(plan, seed),
        "following": FollowingOnly(plan, seed),
        "oracle": Oracle(plan, seed, watches),
    }
