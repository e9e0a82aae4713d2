"""Hidden tastes, and what videos are about.

With KuaiRand-Pure both are real: a video is one row of the catalogue (its tags, its length), a taste is that of one
user: up to three tags that they watched long at least three times, and at least twice as often as everybody does.
Without it, both are drawn: 40 topics of Zipf-like frequency (exponent 0.6), one or two a video, lengths log-normal
around 25 s, two topics a taste.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOPICS = 40
MOST_TAGS = 3
LEAST_HISTORY, LEAST_COUNT, LEAST_LIFT = 15, 3, 2.0
SHORTEST_MS, LONGEST_MS = 3_000, 180_000


@dataclass(frozen=True, slots=True)
class Kind:
    """What a video is: its hashtags, the first one its topic, and its length."""

    tags: tuple[str, ...]
    duration_ms: int


Taste = Mapping[str, float]
"""Appeal by hashtag, the best 1."""


@dataclass(frozen=True, slots=True)
class Population:
    """Where videos and tastes are drawn from."""

    source: str
    kinds: Sequence[Kind]
    tastes: Sequence[Taste]


def population(kuairand: Path | None, seed: int) -> Population:
    """Real when there is a folder of KuaiRand-Pure, else drawn."""
    return _kuairand(kuairand) if kuairand else _drawn(random.Random(f"population/{seed}"))


def _drawn(dice: random.Random) -> Population:
    names = [f"topic{number:02d}" for number in range(TOPICS)]
    weights = [1 / (rank + 1) ** 0.6 for rank in range(TOPICS)]
    kinds = []
    for _ in range(5000):
        tags = dict.fromkeys(dice.choices(names, weights, k=dice.choice((1, 1, 1, 2))))
        kinds.append(Kind(tuple(tags), _length(int(1000 * math.exp(dice.gauss(math.log(25), 0.8))))))
    tastes = [dict(zip(dice.sample(names, 2), (1.0, 0.7), strict=True)) for _ in range(1000)]
    return Population("drawn", kinds, tastes)


def _kuairand(folder: Path) -> Population:
    # Heavy, and not needed by the drawn population.
    import pyarrow.csv as csv
    import pyarrow.parquet as parquet

    videos = csv.read_csv(folder / "video_features_basic_pure.csv")
    columns = ("video_id", "tag", "video_duration")
    rows = zip(*(videos.column(name).to_pylist() for name in columns), strict=True)
    kinds = {int(number): _kind(tag, length) for number, tag, length in rows if tag}
    histories = parquet.read_table(folder / "user_sequences.parquet", columns=["long_watch_seq"])
    watched = [[int(number) for number in row or ()] for row in histories.column(0).to_pylist()]
    everybody = Counter(tag for row in watched for number in row if number in kinds for tag in kinds[number].tags)
    total = sum(everybody.values())
    usual = {tag: count / total for tag, count in everybody.items()}
    tastes = [taste for row in watched if len(row) >= LEAST_HISTORY and (taste := _taste(row, kinds, usual))]
    return Population("KuaiRand-Pure", list(kinds.values()), tastes)


def _kind(tag: Any, length: Any) -> Kind:
    return Kind(tuple(f"tag{part}" for part in str(tag).split(",") if part), _length(int(length or 25_000)))


def _length(duration_ms: int) -> int:
    return min(max(duration_ms, SHORTEST_MS), LONGEST_MS)


def _taste(row: Sequence[int], kinds: Mapping[int, Kind], usual: Mapping[str, float]) -> Taste:
    """What sets one user apart; empty when nothing does."""
    counts = Counter(tag for number in row if number in kinds for tag in kinds[number].tags)
    total = sum(counts.values())
    apart = {
        tag: count for tag, count in counts.items() if count >= LEAST_COUNT and count / total >= LEAST_LIFT * usual[tag]
    }
    best = sorted(apart.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_TAGS]
    return {tag: count / best[0][1] for tag, count in best} if best else {}
