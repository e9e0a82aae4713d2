"""The newest part of a log: what a version is asked that it has not learned from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rank_svc.train.columns import NO_TIME
from rank_svc.train.dataset import Dataset, Events, Flags, Ints
from rank_svc.train.histories import Histories, build
from rank_svc.train.metrics import Question
from rank_svc.train.protocol import question

SHARE = 0.1
"""Of all rows, by time, the share that counts as the newest."""
MOST_USERS = 2000


@dataclass(frozen=True, slots=True)
class Newest:
    """A log cut at a moment."""

    moment_ms: int
    before: Histories
    """Of all users; those who came later have no row."""
    asked: Question
    """Users with a positive before and one after, at most MOST_USERS of them by chance."""


def moment_of(histories: Histories, share: float = SHARE) -> int:
    """The time that `share` of the rows are newer than."""
    return int(np.quantile(histories.times_ms, 1 - share)) if len(histories.times_ms) else 0


def cut(dataset: Dataset, *, learned_until_ms: int = 0, share: float = SHARE) -> Newest | str:
    """The log cut where its newest rows begin, never before `learned_until_ms`; or why that can't be done."""
    histories = build(dataset.interactions)
    if not histories.ordered:
        return "the log has neither times nor positions: nobody can tell its newest rows"
    moment = max(moment_of(histories, share), learned_until_ms)
    late = histories.times_ms > moment
    before = histories.where(~late)
    had = np.bincount(before.owner[before.positive], minlength=len(histories.users)) > 0
    asked = late & histories.positive & had[histories.owner]
    if not asked.any():
        return "nobody with a positive before has one among the newest rows"
    users, items = _some(histories.users[histories.owner[asked]], histories.items[asked])
    return Newest(moment, before, question(dataset, before, (users, items)))


def _some(users: Ints, items: Ints) -> tuple[Ints, Ints]:
    who = np.unique(users)
    if len(who) > MOST_USERS:
        chosen = np.isin(users, np.random.default_rng(0).permutation(who)[:MOST_USERS])
        users, items = users[chosen], items[chosen]
    return users, items


def older(dataset: Dataset, share: float = SHARE) -> Dataset:
    """The dataset without the newest `share` of its rows, which are left for `promote` to ask. As it is where there is
    no order."""
    histories = build(dataset.interactions)
    if not histories.ordered or share <= 0:
        return dataset
    moment = moment_of(histories, share)
    kept = dataset.interactions.where(_not_after(dataset.interactions, histories, moment))
    if not len(kept):
        return dataset
    impressions = dataset.impressions
    if impressions is not None and "timestamp_ms" in impressions.wholes:
        impressions = impressions.where(_at_most(impressions.wholes["timestamp_ms"], moment))
    return replace(
        dataset,
        interactions=kept,
        impressions=impressions if impressions is not None and len(impressions) else None,
        notes=[*dataset.notes, f"the newest {share:.0%} of the rows are left out, for `reelgraph promote` to ask"],
    )


def _not_after(events: Events, histories: Histories, moment: int) -> Flags:
    """Rows of a (user, item) whose place in the history is not after the moment."""
    late = histories.times_ms > moment
    gone = set(zip(histories.users[histories.owner[late]].tolist(), histories.items[late].tolist(), strict=True))
    pairs = zip(events.user_ids.tolist(), events.item_ids.tolist(), strict=True)
    return np.fromiter((pair not in gone for pair in pairs), np.bool_, len(events))


def _at_most(times: Ints, moment: int) -> Flags:
    return np.asarray((times == NO_TIME) | (times <= moment), np.bool_)
