"""Impressions as rows to learn ranking from: labels, and the features that serving would have had at that moment.

Everything is replayed in order of time: counts, rates and affinities of a row know only what came before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rank_svc.features.columns import video_columns
from rank_svc.features.decay import DAY_MS, HOUR_MS, heat_of, join, sum_at
from rank_svc.features.history import appeal
from rank_svc.features.lengths import Typical, bucket_of, typical
from rank_svc.features.store import BucketStats, Interaction, VideoFacts, VideoRecord, VideoStats
from rank_svc.scorers.store import HISTORY, RANK_FEATURES, SIGNALS, Floats
from rank_svc.train.columns import NO_TIME
from rank_svc.train.dataset import Dataset, Events, Flags, Ints
from rank_svc.train.histories import Histories, item_codes
from rank_svc.train.served import Content

LABELS = ("like", "share", "comment", "completion", "negative", "long_view", "follow")
"""Yes or no; watch time is apart."""
SKIP_MS, SKIP_SHARE = 3000, 0.25
"""Left earlier than both: swiped away."""
TASTE_HALF_LIFE_MS = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class Timeline:
    """What users did, sorted by user and oldest first: interactions and impressions together."""

    items: Ints
    """[m] codes."""
    signals: Floats
    """[m, len(SIGNALS)], age_hours 0."""
    times_ms: Ints
    """[m]"""


@dataclass(frozen=True, slots=True)
class Rows:
    """Impressions in order of time."""

    users: Ints
    """[n] codes among the users of the timeline."""
    items: Ints
    """[n] codes in the catalogue."""
    times_ms: Ints
    features: Floats
    """[n, len(RANK_FEATURES)] without `affinity`."""
    labels: Mapping[str, Flags]
    watched_ms: Ints
    duration_ms: Ints
    first: Ints
    """[n] place in the timeline where the history begins."""
    last: Ints
    """[n] and ends, exclusive: at most HISTORY later."""
    user_ids: Ints
    """[users] ids as in the source."""

    def __len__(self) -> int:
        return len(self.items)


def usable(events: Events | None) -> bool:
    """Whether a ranker can be learned from these: times, watch times and more than a handful of rows."""
    return events is not None and len(events) >= 500 and {"timestamp_ms", "watched_ms"} <= set(events.wholes)


def replay(dataset: Dataset, histories: Histories, content: Content) -> tuple[Rows, Timeline]:
    """Rows and timeline of a dataset whose impressions are `usable`."""
    assert dataset.impressions is not None
    catalogue = dataset.catalogue
    events = dataset.impressions
    codes = item_codes(catalogue, events.item_ids)
    good = (codes >= 0) & (events.wholes["timestamp_ms"] != NO_TIME)
    events = events.where(good)
    order = np.argsort(events.wholes["timestamp_ms"], kind="stable")
    events, codes = events.where(order), codes[good][order]
    user_ids, users = np.unique(np.concatenate([histories.users, events.user_ids]), return_inverse=True)
    owners = users[: len(histories.users)][histories.owner]
    users = users[len(histories.users) :].astype(np.int64)
    duration = events.wholes.get("duration_ms", np.zeros(len(events), np.int64))
    duration = np.where(duration > 0, duration, (content.durations_s[codes] * 1000).astype(np.int64))
    watched = np.maximum(events.wholes["watched_ms"], 0)
    labels = _labels(events, watched, duration)
    own = _signals(labels, events, watched, duration)
    timeline, first, last = _timeline(
        histories, owners, item_codes(catalogue, histories.items), events, users, codes, own
    )
    state = _Replay(dataset, histories, content, len(catalogue))
    features = state.run(events, users, codes, labels, watched, duration)
    features[:, RANK_FEATURES.index("history_log")] = np.log1p(last - first)
    times = events.wholes["timestamp_ms"]
    return Rows(users, codes, times, features, labels, watched, duration, first, last, user_ids), timeline


def _labels(events: Events, watched: Ints, duration: Ints) -> dict[str, Flags]:
    none = np.zeros(len(events), np.bool_)
    skipped = (watched < SKIP_MS) & (watched < SKIP_SHARE * np.maximum(duration, 1))
    completed = events.flags.get("completed", watched >= 0.95 * np.maximum(duration, 1))
    return {
        "like": events.flags.get("like", none),
        "share": events.flags.get("share", none),
        "comment": events.flags.get("comment", none),
        "completion": completed,
        "negative": events.flags.get("not_interested", none) | skipped,
        "long_view": events.flags.get("long_view", completed),
        "follow": events.flags.get("follow", none),
    }


def _signals(labels: Mapping[str, Flags], events: Events, watched: Ints, duration: Ints) -> Floats:
    found = np.zeros((len(watched), len(SIGNALS)), np.float32)
    refused = events.flags.get("not_interested", np.zeros(len(watched), np.bool_))
    columns = {
        "watch_ratio": np.clip(watched / np.maximum(duration, 1), 0, 1),
        "watched_s": watched / 1000,
        "duration_s": duration / 1000,
        "liked": labels["like"],
        "completed": labels["completion"] | labels["long_view"],
        "skipped": labels["negative"] & ~refused,
        "not_interested": refused,
        "shared": labels["share"],
        "commented": labels["comment"],
    }
    for name, column in columns.items():
        found[:, SIGNALS.index(name)] = column
    return found


def _timeline(
    histories: Histories, owners: Ints, before: Ints, events: Events, users: Ints, codes: Ints, own: Floats
) -> tuple[Timeline, Ints, Ints]:
    """The timeline, and [n] first and last of each impression's history in it."""
    from rank_svc.train.served import signals

    old = signals(histories, np.arange(len(before)), histories.times_ms)
    times = np.concatenate([histories.times_ms, events.wholes["timestamp_ms"]])
    who = np.concatenate([owners, users])
    order = np.lexsort((np.arange(len(who)), times, who))
    timeline = Timeline(np.concatenate([before, codes])[order], np.concatenate([old, own])[order], times[order])
    sorted_who = who[order]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    place = place[len(before) :]
    start = np.searchsorted(sorted_who, users)
    # Two impressions of one moment do not know of each other.
    same = np.append(True, (sorted_who[1:] != sorted_who[:-1]) | (timeline.times_ms[1:] != timeline.times_ms[:-1]))
    head = np.maximum.accumulate(np.where(same, np.arange(len(same)), 0))
    last = head[place]
    return timeline, np.maximum(start, last - HISTORY), last


class _Replay:
    """Counts as they stood at each moment, kept the way the feature projection keeps them."""

    def __init__(self, dataset: Dataset, histories: Histories, content: Content, items: int) -> None:
        self._content = content
        self._published = _published(dataset)
        self._stats = [VideoStats() for _ in range(items)]
        self._buckets: dict[int, BucketStats] = {}
        self._authors: dict[tuple[int, int], tuple[float, int]] = {}
        self._tags: dict[tuple[int, int], tuple[float, int]] = {}
        codes = item_codes(dataset.catalogue, histories.items)
        views = np.bincount(codes, minlength=items)
        positive = np.bincount(codes[histories.positive], minlength=items)
        likes = np.bincount(codes[histories.flags["like"]], minlength=items) if "like" in histories.flags else views * 0
        for stats, seen, kept, liked in zip(
            self._stats, views.tolist(), positive.tolist(), likes.tolist(), strict=True
        ):
            stats.impressions = stats.views = seen
            stats.completions, stats.likes, stats.ratio_sum = kept, liked, float(kept)
        self._seen_before(histories, codes)

    def _seen_before(self, histories: Histories, codes: Ints) -> None:
        users, owner = histories.users.tolist(), histories.owner.tolist()
        rows = zip(owner, codes.tolist(), histories.positive.tolist(), histories.times_ms.tolist(), strict=True)
        for who, item, positive, at in rows:
            self._feel(users[who], item, 0.75 if positive else -0.1, at)

    def run(
        self, events: Events, users: Ints, codes: Ints, labels: Mapping[str, Flags], watched: Ints, duration: Ints
    ) -> Floats:
        """[n, len(RANK_FEATURES)] of events in order of time."""
        n = len(codes)
        times = events.wholes["timestamp_ms"]
        found = np.zeros((n, len(RANK_FEATURES)), np.float32)
        made = [_interaction(labels, i, int(watched[i]), int(duration[i]), int(times[i])) for i in range(n)]
        tastes = np.zeros((n, 2), np.float32)
        records: list[VideoRecord] = []
        start, lengths = 0, typical(self._buckets)
        for i, (item, at, user) in enumerate(
            zip(codes.tolist(), times.tolist(), events.user_ids.tolist(), strict=True)
        ):
            tastes[i] = self._taste(user, item, at)
            records.append(VideoRecord(self._facts(item, int(duration[i])), _copy(self._stats[item])))
            if i + 1 == n or i - start >= 1000:
                # What is typical for a length moves slowly: rates from before these thousand rows are as good.
                self._fill(found, start, records, lengths, times[start : i + 1])
                records, start, lengths = [], i + 1, typical(self._buckets)
            self._count(item, made[i], at)
            self._feel(user, item, appeal(made[i]), at)
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


def _copy(s: VideoStats) -> VideoStats:
    return VideoStats(
        s.impressions,
        s.views,
        s.completions,
        s.skips,
        s.watched_ms,
        s.ratio_sum,
        s.likes,
        s.shares,
        s.comments,
        s.not_interested,
        s.heat_1h,
        s.heat_24h,
    )
