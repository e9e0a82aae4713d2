"""Impressions as rows to learn ranking from: labels, and the features that serving would have had at that moment.

Everything is replayed in order of time: counts, rates and affinities of a row know only what came before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rank_svc.scorers.store import HISTORY, RANK_FEATURES, SIGNALS, Floats
from rank_svc.train.archive import OUTCOME_MS
from rank_svc.train.columns import MAX_ID, NO_TIME
from rank_svc.train.dataset import Dataset, Events, Flags, Ints
from rank_svc.train.histories import Histories, item_codes
from rank_svc.train.replayed import Counts
from rank_svc.train.served import Content

LABELS = ("like", "share", "comment", "completion", "negative", "long_view", "follow")
"""Yes or no; watch time is apart."""
SKIP_MS, SKIP_SHARE = 3000, 0.25
"""Left earlier than both: swiped away."""


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
    since = int(events.wholes["timestamp_ms"].min(initial=MAX_ID))
    histories = histories.where(~_outcomes(histories, events))
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
    counts = Counts(dataset, histories, content, since=since)
    features = counts.run(events, codes, labels, watched, duration)
    features[:, RANK_FEATURES.index("history_log")] = np.log1p(last - first)
    times = events.wholes["timestamp_ms"]
    return Rows(users, codes, times, features, labels, watched, duration, first, last, user_ids), timeline


def _outcomes(histories: Histories, events: Events) -> Flags:
    """[n] rows that are what followed an impression: our own archive has these in both tables, and the impression's
    labels already are what they say."""
    _, own = np.unique(np.concatenate([histories.users, events.user_ids]), return_inverse=True)
    items, what = np.unique(np.concatenate([histories.items, events.item_ids]), return_inverse=True)
    who = np.concatenate([own[: len(histories.users)][histories.owner], own[len(histories.users) :]])
    pair = who.astype(np.int64) * len(items) + what
    when = np.concatenate([histories.times_ms, events.wholes["timestamp_ms"]])
    shown = np.arange(len(pair)) >= len(histories.items)
    # By pair and time, of one moment what was shown before what was watched: the impression before each row.
    order = np.lexsort((~shown, when, pair))
    newest = np.maximum.accumulate(np.where(shown[order], np.arange(len(order)), -1))
    before = order[np.maximum(newest, 0)]
    followed = (newest >= 0) & (pair[before] == pair[order]) & (when[order] - when[before] <= OUTCOME_MS)
    found = np.empty(len(pair), np.bool_)
    found[order] = followed
    return found[: len(histories.items)]


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
