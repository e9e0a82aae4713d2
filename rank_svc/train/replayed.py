"""Counts, rates and affinities as they stood at each moment of a log, as the feature projection keeps them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rank_svc.features.columns import video_columns
from rank_svc.features.decay import DAY_MS, HOUR_MS, heat_of, join, sum_at
from rank_svc.features.history import appeal
from rank_svc.features.lengths import Typical, bucket_of, typical
from rank_svc.features.store import BucketStats, Interaction, VideoFacts, VideoRecord, VideoStats
from rank_svc.scorers.store import RANK_FEATURES, Floats
from rank_svc.train.dataset import Dataset, Events, Flags, Ints
from rank_svc.train.histories import Histories, item_codes
from rank_svc.train.served import Content

TASTE_HALF_LIFE_MS = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class _Watches:
    """Rows of the histories as columns."""

    users: Ints
    items: Ints
    positive: Flags
    liked: Flags
    times_ms: Ints


class _Order:
    """Impressions (0 to n) and then watches (from n on), walked through in order of time."""

    def __init__(self, impressions: Ints, watches: Ints) -> None:
        times = np.concatenate([impressions, watches])
        self._order = np.argsort(times, kind="stable")
        self._times, self._at = times[self._order], 0

    def before(self, moment: int) -> list[int]:
        """Those earlier than `moment` that were not told before."""
        end = int(np.searchsorted(self._times, moment, side="left"))
        rows: list[int] = self._order[self._at : end].tolist()
        self._at = max(self._at, end)
        return rows


class Counts:
    """Counts as they stood at each moment, kept the way the feature projection keeps them."""

    """`since`: the moment of the first impression. What histories have from before it is known from the start, what
    they have of later becomes known when its time has come."""

    def __init__(self, dataset: Dataset, histories: Histories, content: Content, *, since: int) -> None:
        items = len(dataset.catalogue)
        self._content = content
        self._published = _published(dataset)
        self._stats = [VideoStats() for _ in range(items)]
        self._buckets: dict[int, BucketStats] = {}
        self._authors: dict[tuple[int, int], tuple[float, int]] = {}
        self._tags: dict[tuple[int, int], tuple[float, int]] = {}
        liked = histories.flags.get("like", np.zeros(len(histories.items), np.bool_))
        self._watches = _Watches(
            histories.users[histories.owner],
            item_codes(dataset.catalogue, histories.items),
            histories.positive,
            liked,
            histories.times_ms,
        )
        early = histories.times_ms < since
        self._late = np.flatnonzero(~early)
        for row in np.flatnonzero(early).tolist():
            self._know(row)

    def _know(self, row: int) -> None:
        """A row of the histories has happened."""
        w = self._watches
        user, item, positive, liked, at = (int(c[row]) for c in (w.users, w.items, w.positive, w.liked, w.times_ms))
        stats = self._stats[item]
        stats.impressions += 1
        stats.views += 1
        stats.completions += positive
        stats.likes += liked
        stats.ratio_sum += positive
        self._feel(user, item, 0.75 if positive else -0.1, at)

    def run(self, events: Events, codes: Ints, labels: Mapping[str, Flags], watched: Ints, duration: Ints) -> Floats:
        """[n, len(RANK_FEATURES)] of impressions in order of time."""
        n = len(codes)
        times = events.wholes["timestamp_ms"]
        found = np.zeros((n, len(RANK_FEATURES)), np.float32)
        made = [_interaction(labels, i, int(watched[i]), int(duration[i]), int(times[i])) for i in range(n)]
        tastes = np.zeros((n, 2), np.float32)
        records: list[VideoRecord] = []
        users = events.user_ids.tolist()
        happened = _Order(times, self._watches.times_ms[self._late])
        start, lengths = 0, typical(self._buckets)
        for i, (item, at, user) in enumerate(zip(codes.tolist(), times.tolist(), users, strict=True)):
            # What is of this very moment, such as the rest of the page, is not known yet.
            for row in happened.before(at):
                if row < n:
                    self._count(int(codes[row]), made[row], int(times[row]))
                    self._feel(users[row], int(codes[row]), appeal(made[row]), int(times[row]))
                else:
                    self._know(int(self._late[row - n]))
            tastes[i] = self._taste(user, item, at)
            records.append(VideoRecord(self._facts(item, int(duration[i])), replace(self._stats[item])))
            if i + 1 == n or i - start >= 1000:
                # What is typical for a length moves slowly: rates from before these thousand rows are as good.
                self._fill(found, start, records, lengths, times[start : i + 1])
                records, start, lengths = [], i + 1, typical(self._buckets)
        column = {name: RANK_FEATURES.index(name) for name in RANK_FEATURES}
        found[:, column["author_affinity"]], found[:, column["tag_affinity"]] = tastes.T
        angle = 2 * np.pi * (times // HOUR_MS % 24) / 24
        found[:, column["hour_sin"]], found[:, column["hour_cos"]] = np.sin(angle), np.cos(angle)
        found[:, column["logged_in"]] = 1
        found[:, column["language_match"]] = 0.5
        return found

    def _fill(
        self, found: Floats, start: int, records: Sequence[VideoRecord], lengths: Sequence[Typical], times: Ints
    ) -> None:
        columns = dict(video_columns(records, lengths, int(times[0])))
        # Each row has a moment of its own, where serving has one for all.
        for name, half_life in (("views_1h", HOUR_MS), ("views_24h", DAY_MS)):
            heats = zip(records, times.tolist(), strict=True)
            found_heat = [sum_at(getattr(r.stats, f"heat{name[5:]}"), t, half_life) for r, t in heats]
            columns[name] = np.array(found_heat, np.float32)
        age = np.array([max(0, t - r.facts.published_at_ms) / HOUR_MS for t, r in zip(times, records, strict=True)])
        known = np.array([r.facts.published_at_ms > 0 for r in records])
        columns["age_hours"] = np.where(known, age, 0).astype(np.float32)
        columns["freshness"] = (2.0 ** (-columns["age_hours"] / 48)).astype(np.float32)
        for name in ("views", "views_1h", "views_24h", "impressions", "age_hours", "author_followers"):
            columns[f"{name}_log"] = np.log1p(columns[name])
        columns["duration_log"] = np.log1p(columns["duration_s"])
        for i, name in enumerate(RANK_FEATURES):
            if name in columns:
                found[start : start + len(records), i] = columns[name]

    def _facts(self, item: int, duration_ms: int) -> VideoFacts:
        return VideoFacts(item, 0, duration_ms=duration_ms, published_at_ms=int(self._published[item]))

    def _count(self, item: int, made: Interaction, at: int) -> None:
        stats, ratio = self._stats[item], min(made.watched_ms / max(made.duration_ms, 1), 1.0)
        stats.impressions += 1
        stats.views += 1
        stats.completions += made.completed
        stats.skips += made.skipped
        stats.ratio_sum += ratio
        stats.likes += made.liked
        stats.shares += made.shared
        stats.comments += made.commented
        stats.not_interested += made.not_interested
        stats.heat_1h = join(stats.heat_1h, heat_of(1.0, at, HOUR_MS))
        stats.heat_24h = join(stats.heat_24h, heat_of(1.0, at, DAY_MS))
        bucket = self._buckets.setdefault(bucket_of(made.duration_ms), BucketStats())
        bucket.views += 1
        bucket.completions += made.completed
        bucket.ratio_sum += ratio

    def _feel(self, user: int, item: int, value: float, at: int) -> None:
        for key, table in self._keys(user, item):
            old, since = table.get(key, (0.0, at))
            table[key] = (old * 2.0 ** (-max(at - since, 0) / TASTE_HALF_LIFE_MS) + value, at)

    def _taste(self, user: int, item: int, at: int) -> tuple[float, float]:
        authors: list[float] = []
        tags: list[float] = []
        for key, table in self._keys(user, item):
            old, since = table.get(key, (0.0, at))
            felt = math.tanh(old * 2.0 ** (-max(at - since, 0) / TASTE_HALF_LIFE_MS) / 3)
            (authors if table is self._authors else tags).append(felt)
        return (authors[0] if authors else 0.0), (sum(tags) / len(tags) if tags else 0.0)

    def _keys(self, user: int, item: int) -> list[tuple[tuple[int, int], dict[tuple[int, int], tuple[float, int]]]]:
        author = int(self._content.author_ids[item])
        found = [((user, author), self._authors)] if author else []
        return found + [((user, tag), self._tags) for tag in self._content.tags[item].tolist() if tag]


def _published(dataset: Dataset) -> Ints:
    found = np.zeros(len(dataset.catalogue), np.int64)
    column: NDArray[np.float64] | None = dataset.items.numbers.get("published_at_ms")
    if column is not None:
        found[item_codes(dataset.catalogue, dataset.items.ids)] = np.nan_to_num(column, nan=0.0)
    return found


def _interaction(labels: Mapping[str, Flags], i: int, watched: int, duration: int, at: int) -> Interaction:
    return Interaction(
        0,
        0,
        watched,
        duration,
        at,
        liked=bool(labels["like"][i]),
        completed=bool(labels["completion"][i]),
        skipped=bool(labels["negative"][i]),
        shared=bool(labels["share"][i]),
        commented=bool(labels["comment"][i]),
    )
