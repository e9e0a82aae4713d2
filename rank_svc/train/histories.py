"""Interactions as one history a user: ordered, each item once, with times known or estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rank_svc.train.columns import NO_TIME
from rank_svc.train.dataset import Events, Flags, Ints

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Histories:
    """Rows sorted by user and oldest first; user i has rows `starts[i]` to `starts[i + 1]`. Ids are the source's."""

    users: Ints
    """[u] ascending."""
    starts: Ints
    """[u + 1]"""
    items: Ints
    """[n]"""
    times_ms: Ints
    """[n], estimated where only the order is known; all the same where nothing is."""
    positive: Flags
    """[n]"""
    flags: Mapping[str, Flags]
    """[n] by name, those that the dataset has."""
    watched_ms: Ints
    """[n], 0 for unknown."""
    duration_ms: Ints
    """[n], 0 for unknown."""
    ordered: bool
    """Whether an order is known at all."""

    @property
    def owner(self) -> Ints:
        """[n] index of each row's user."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.starts))

    @property
    def lengths(self) -> Ints:
        """[u]"""
        return np.diff(self.starts)

    @property
    def end_ms(self) -> int:
        """The newest time there is: what counts as now."""
        return int(self.times_ms.max(initial=0))

    def where(self, keep: Flags) -> Histories:
        """The rows that a mask chooses; users without rows stay, with none."""
        counts = np.bincount(self.owner[keep], minlength=len(self.users))
        return Histories(
            self.users,
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            self.items[keep],
            self.times_ms[keep],
            self.positive[keep],
            {name: column[keep] for name, column in self.flags.items()},
            self.watched_ms[keep],
            self.duration_ms[keep],
            self.ordered,
        )


def build(events: Events, *, seed: int = 0) -> Histories:
    """The histories of all users. Of an item that a user met several times the last place counts, and what was done
    once stays done: as the serving side merges them. Without time and position the order is drawn by `seed`."""
    order, ordered = _order(events, seed)
    events = events.where(order)
    times = estimated_times(events)
    if "timestamp_ms" in events.wholes:
        again = np.lexsort((np.arange(len(times)), times, events.user_ids))
        events, times = events.where(again), times[again]
    last, group = _last_of_pairs(events)
    n = len(last)

    def ever(column: Flags) -> Flags:
        found = np.zeros(n, np.bool_)
        np.logical_or.at(found, group, column)
        return found

    zeros = np.full(len(events), 0, np.int64)
    users, starts = np.unique(events.user_ids[last], return_index=True)
    return Histories(
        users,
        np.append(starts, n).astype(np.int64),
        events.item_ids[last],
        times[last],
        ever(events.positive),
        {name: ever(column) for name, column in events.flags.items()},
        np.maximum(events.wholes.get("watched_ms", zeros), 0)[last],
        np.maximum(events.wholes.get("duration_ms", zeros), 0)[last],
        ordered,
    )


def _order(events: Events, seed: int) -> tuple[Ints, bool]:
    rows = np.arange(len(events))
    position = events.wholes.get("position")
    time = events.wholes.get("timestamp_ms")
    if position is None and time is None:
        return np.lexsort((np.random.default_rng(seed).permutation(len(events)), events.user_ids)), False
    if time is None or position is None:
        key = position if time is None else time
        assert key is not None
        return np.lexsort((rows, key, events.user_ids)), True
    # A time that is known everywhere beats a position; where some are missing only positions give a whole order.
    keys = (position, time) if (time != NO_TIME).all() else (time, position)
    return np.lexsort((rows, *keys, events.user_ids)), True


def _last_of_pairs(events: Events) -> tuple[Ints, Ints]:
    """Row of the last of each (user, item), ascending, and for every row the index of its pair in it."""
    n = len(events)
    order = np.lexsort((np.arange(n), events.item_ids, events.user_ids))
    users, items = events.user_ids[order], events.item_ids[order]
    ends = np.append((users[1:] != users[:-1]) | (items[1:] != items[:-1]), True) if n else np.zeros(0, np.bool_)
    last = order[ends]
    pair_of_sorted = np.cumsum(np.append(0, ends[:-1])) if n else np.zeros(0, np.int64)
    rank = np.empty(len(last), np.int64)
    rank[np.argsort(last)] = np.arange(len(last))
    group = np.empty(n, np.int64)
    group[order] = rank[pair_of_sorted]
    return np.sort(last), group


def estimated_times(events: Events) -> Ints:
    """[n] times of rows sorted by user and oldest first.

    What is missing lies between the known neighbours, in proportion to position. Before a user's first known time it
    is drawn out to the first time in the data: a history's length then says how dense it was.
    """
    n = len(events)
    known = events.wholes.get("timestamp_ms")
    if known is None:
        return _by_place(events)
    if (known != NO_TIME).all():
        return known
    first = int(known[known != NO_TIME].min())
    position = events.wholes.get("position", np.arange(n)).astype(np.float64)
    times = np.empty(n, np.float64)
    starts = np.flatnonzero(np.append(True, events.user_ids[1:] != events.user_ids[:-1]))
    for start, end in zip(starts, np.append(starts[1:], n), strict=True):
        at, place = known[start:end], position[start:end]
        have = at != NO_TIME
        if not have.any():
            times[start:end] = first
            continue
        # One place before the first stands at the beginning of the data.
        places, stamps = np.append(min(place[0], 0.0) - 1, place[have]), np.append(first, at[have])
        times[start:end] = np.interp(place, places, stamps)
    return times.astype(np.int64)


def _by_place(events: Events) -> Ints:
    """Positions alone say what is newer, not when: the newest of each user counts as now, an event a minute."""
    position = events.wholes.get("position")
    if position is None:
        return np.zeros(len(events), np.int64)
    _, owner = np.unique(events.user_ids, return_inverse=True)
    newest = np.zeros(int(owner.max(initial=0)) + 1, np.int64)
    np.maximum.at(newest, owner, position)
    span = int(newest.max(initial=0))
    return (span - (newest[owner] - position)) * 60_000


def item_codes(catalogue: Ints, items: NDArray[np.int64]) -> Ints:
    """Index in the ascending `catalogue` of each item; -1 for what is not in it."""
    place = np.minimum(np.searchsorted(catalogue, items), max(len(catalogue) - 1, 0))
    if not len(catalogue):
        return np.full(len(items), -1, np.int64)
    return np.where(catalogue[place] == items, place, -1).astype(np.int64)
