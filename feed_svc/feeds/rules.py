"""Rules: what may not be shown, what is worth less, and in which order the rest makes a varied page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from feed_svc.feeds.snapshot import Entry
from feed_svc.feeds.sources import AGAIN, NUMBERS, YOUNG
from feed_svc.feeds.store import Trial
from feed_svc.feeds.trials import choose

WINDOW = 40
"""How far down the tail a better fitting video is looked for at first."""
MEMORY = 20
"""Places before the page that author and topic decay remember, those of the snapshot before this one among them."""
AUTHOR_DECAY = 0.08
TOPIC_DECAY = 0.02


@dataclass(frozen=True, slots=True)
class Barred:
    """What may not be shown to this viewer now."""

    videos: AbstractSet[int] = frozenset()
    authors: AbstractSet[int] = frozenset()

    def allows(self, entry: Entry) -> bool:
        """Whether a video may be shown."""
        return entry.video_id not in self.videos and entry.author_id not in self.authors


@dataclass(frozen=True, slots=True)
class Variety:
    """Settings of a varied page."""

    author_gap: int
    topic_share: float
    exploration_every: int
    growth_share: float = 0.25
    """Of exploration places, for young videos that had their guaranteed impressions, while others wait for theirs."""


@dataclass(frozen=True, slots=True)
class Picked:
    """A video and the probability with which the policy of the moment put it there."""

    entry: Entry
    propensity: float = 1.0
    explored: bool = False


def is_exploration(position: int, every: int) -> bool:
    """Whether a place of the snapshot is for a young video: one in `every`, and not the first."""
    return position % every == every - 3 if every > 3 else position % every == every - 1


def pick(
    tail: Sequence[Entry],
    before: Sequence[Entry],
    on_page: Sequence[Entry],
    count: int,
    *,
    page_size: int,
    variety: Variety,
    seed: str,
    barred: Barred,
    trials: Mapping[int, Trial] | None = None,
    memory: Sequence[tuple[int, int]] = (),
) -> list[Picked]:
    """Take up to `count` entries of a tail (best first) that follow `before`, where `on_page` are on the page already.

    No author twice within `author_gap` places and no topic on more than its share of the page, where avoidable; authors
    and topics of the last places count less, those that an earlier snapshot served (`memory`: author and topic) among
    them. Exploration places take a young video by its trial (`trials.choose`), the same one for a seed.
    """
    left = [entry for entry in tail if barred.allows(entry)]
    line = [*(Entry(0, author, 0, 0.0, 0, 0, topic, 0) for author, topic in memory), *before][-MEMORY:]
    page = Counter(entry.topic for entry in on_page)
    most = max(1, int(page_size * variety.topic_share))
    position, picked = len(before), list[Picked]()
    while left and len(picked) < count:
        choice = None
        if is_exploration(position, variety.exploration_every):
            # A place for a young video is no place for a third of one topic in five.
            roomy = [entry for entry in left if not _crowded(entry, page, most)]
            choice = _explore(roomy, line, variety, trials or {}, f"{seed}/{position}")
        if choice is None:
            choice = Picked(_best(left, line, page, most, variety.author_gap))
        picked.append(choice)
        left.remove(choice.entry)
        line.append(choice.entry)
        page[choice.entry.topic] += 1
        position += 1
    return picked


def _explore(
    left: Sequence[Entry], line: Sequence[Entry], variety: Variety, trials: Mapping[int, Trial], seed: str
) -> Picked | None:
    recent = {entry.author_id for entry in line[-(variety.author_gap - 1) :]} if variety.author_gap > 1 else set()
    young = {e.video_id: e for e in left if e.source & YOUNG and e.author_id not in recent}
    if not young:
        return None
    chosen, propensity = choose(list(young), trials, growth_share=variety.growth_share, seed=seed)
    return Picked(young[chosen], propensity, explored=True)


def remembered(memory: Sequence[tuple[int, int]], served: Sequence[Entry]) -> tuple[tuple[int, int], ...]:
    """Author and topic of the last places: what a later snapshot has to vary from."""
    return (*memory, *((entry.author_id, entry.topic) for entry in served[-MEMORY:]))[-MEMORY:]


def _best(left: Sequence[Entry], line: Sequence[Entry], page: Counter[int], most: int, gap: int) -> Entry:
    near = {entry.author_id for entry in line[-(gap - 1) :]} if gap > 1 else set()
    authors = Counter(entry.author_id for entry in line[-MEMORY:])
    topics = Counter(entry.topic for entry in line[-MEMORY:])

    def conflict(entry: Entry) -> int:
        # An author again is sooner borne than a page of one topic.
        return 2 * _crowded(entry, page, most) + (entry.author_id in near)

    def order(entry: Entry) -> tuple[int, float]:
        decay = AUTHOR_DECAY * authors[entry.author_id] + (TOPIC_DECAY * topics[entry.topic] if entry.topic else 0.0)
        return conflict(entry), decay - entry.score

    best = min(left[:WINDOW], key=order)
    if conflict(best) and len(left) > WINDOW:
        best = min((best, *left[WINDOW:]), key=order)
    return best


def _crowded(entry: Entry, page: Counter[int], most: int) -> bool:
    return entry.topic != 0 and page[entry.topic] >= most


def is_again(entry: Entry) -> bool:
    """Whether a video is offered although it was seen: rules about what was seen do not apply to it."""
    return entry.source & ~YOUNG == NUMBERS[AGAIN]
