"""What the towers learn from: who, what, how much each target weighs, and the drawing of batches and negatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rank_svc.train.dataset import Flags, Ints
from rank_svc.train.histories import DAY_MS, Histories, item_codes
from rank_svc.train.options import AGE_STEP_DAYS, AGES, LEAST_IN_STEP, LONGEST, SPAN_DAYS, TowerOptions

Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Material:
    """Rows by user, oldest first, at most LONGEST each where networks read them. Items are 1 to `items`."""

    items: int
    starts: Ints
    """[u + 1]"""
    rows: Ints
    """[n] items."""
    actions: Ints
    """[n] 1 to 3."""
    ages: Ints
    """[n] in steps before the end, below AGES. A step is AGE_STEP_DAYS, in logs longer or smaller than SPAN_DAYS and
    LEAST_IN_STEP say more."""
    days: Weights
    """[n] age in days of a log of SPAN_DAYS: longer ones are shrunk to that."""
    target: Flags
    """[n] what is to be predicted from what came before it."""
    weights: Weights
    """[n] of targets, mean 1."""
    frequency: Weights
    """[items + 1] targets of each item."""
    ordered: bool

    @property
    def users(self) -> int:
        return len(self.starts) - 1


def actions_of(histories: Histories) -> Ints:
    """[n] what each row says: 1 seen, 2 positive, 3 liked too."""
    liked = histories.flags.get("like", np.zeros(len(histories.items), np.bool_))
    refused = histories.flags.get("not_interested", np.zeros(len(histories.items), np.bool_))
    return np.where(refused, 1, np.where(liked, 3, np.where(histories.positive, 2, 1))).astype(np.int64)


def span_scale(histories: Histories) -> float:
    """How many times longer the log is than SPAN_DAYS, at least 1. Its oldest hundredth does not count."""
    if not len(histories.times_ms):
        return 1.0
    return max(1.0, (histories.end_ms - float(np.quantile(histories.times_ms, 0.01))) / DAY_MS / SPAN_DAYS)


def material(
    histories: Histories, catalogue: Ints, options: TowerOptions, *, longest: int | None = LONGEST
) -> Material:
    """What to learn from, of each user's newest `longest` rows. Users without a positive are left out: they have no
    target."""
    has = np.bincount(histories.owner[histories.positive], minlength=len(histories.users)) > 0
    newest = histories.starts[1:][histories.owner] - np.arange(len(histories.items))
    kept = histories.where(has[histories.owner] & (newest <= (longest or len(newest))))
    lengths = kept.lengths[has]
    actions = actions_of(kept)
    days = (histories.end_ms - kept.times_ms) / DAY_MS / span_scale(histories)
    target = actions >= 2
    weights = np.where(target, np.exp(-days / options.target_days), 0.0)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    total = np.bincount(owner, weights, minlength=len(lengths)) + 1e-9
    weights /= total[owner] ** options.user_power
    weights /= max(float(weights[target].mean()) if target.any() else 1.0, 1e-9)
    rows = item_codes(catalogue, kept.items) + 1
    return Material(
        len(catalogue),
        np.append(0, np.cumsum(lengths)).astype(np.int64),
        rows,
        actions,
        np.clip(days / _step_days(days[target]), 0, AGES - 1).astype(np.int64),
        days.astype(np.float32),
        target,
        weights.astype(np.float32),
        np.bincount(rows[target], minlength=len(catalogue) + 1).astype(np.float32),
        kept.ordered,
    )


def _step_days(days: NDArray[np.float64]) -> float:
    """A step so long that the newest one, which is what is served by, has LEAST_IN_STEP targets to learn from."""
    if len(days) <= LEAST_IN_STEP:
        return max(AGE_STEP_DAYS, 1e-3 + float(days.max(initial=0)))
    return max(AGE_STEP_DAYS, float(np.partition(days, LEAST_IN_STEP)[LEAST_IN_STEP]))


def keep_chances(source: Material, share: float) -> Weights:
    """[n] chance of each target to be used in an epoch, by weight, so that `share` of all are on average."""
    weights = source.weights[source.target]
    if share >= 1 or not len(weights):
        return np.ones_like(source.weights)
    scale = _solve(lambda c: float(np.minimum(weights * c, 1).mean()), share)
    return np.asarray(np.minimum(source.weights * scale, 1), np.float32)


def negative_chances(source: Material, options: TowerOptions) -> Weights:
    """[items + 1] chance of each item to be among a batch's negatives; 0 for padding."""
    draw = (source.frequency + 1) ** options.power
    draw[0] = 0
    wanted = min(options.negatives, source.items)
    draw /= max(float(draw.sum()), 1e-9)
    scale = _solve(lambda c: float(np.minimum(draw * c, 1).sum()), wanted)
    return np.asarray(np.minimum(draw * scale, 1), np.float32)


def _solve(value: Callable[[float], float], wanted: float) -> float:
    """Where a rising function first gets to `wanted`."""
    low, high = 0.0, 1.0
    while value(high) < wanted * (1 - 1e-6) and high < 1e12:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if value(middle) >= wanted else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class Batch:
    """b users, padded to the longest."""

    rows: Ints
    """[b, l]"""
    actions: Ints
    """[b, l], 0 for padding."""
    ages: Ints
    """[b, l]"""
    target: Flags
    """[b, l]"""
    weights: Weights
    """[b, l]"""


def batches(source: Material, options: TowerOptions, random: np.random.Generator) -> Iterator[Batch]:
    """One epoch: users of like length together, in an order of chance."""
    lengths = np.diff(source.starts)
    order = np.argsort(-(lengths + random.uniform(0, 4, len(lengths))), kind="stable")
    groups, at = [], 0
    while at < len(order):
        count = max(8, options.tokens // (int(lengths[order[at]]) + 1))
        groups.append(order[at : at + count])
        at += count
    chances = keep_chances(source, options.share)
    for index in random.permutation(len(groups)):
        found = take(source, groups[index], None if source.ordered else random)
        place, valid = found
        drawn = random.random(place.shape, dtype=np.float32) < chances[place]
        target = source.target[place] & valid & drawn
        weights = np.where(target, source.weights[place] / np.maximum(chances[place], 1e-9), 0)
        yield _batch(source, place, valid, target, weights.astype(np.float32))


def take(source: Material, users: Ints, shuffle: np.random.Generator | None) -> tuple[Ints, Flags]:
    """[b, l] places in the material and which are real. `shuffle`: rows have no order, draw one."""
    lengths = np.diff(source.starts)[users]
    width = int(lengths.max(initial=0))
    offsets = np.tile(np.arange(width), (len(users), 1))
    valid = offsets < lengths[:, None]
    if shuffle is not None:
        keys = np.where(valid, shuffle.random(valid.shape), 2.0)
        offsets = np.argsort(keys, axis=1)
    return np.where(valid, source.starts[users][:, None] + offsets, 0), valid


def _batch(source: Material, place: Ints, valid: Flags, target: Flags, weights: Weights) -> Batch:
    return Batch(
        np.where(valid, source.rows[place], 0),
        np.where(valid, source.actions[place], 0),
        np.where(valid, source.ages[place], 0),
        target,
        weights,
    )


def whole(source: Material, users: Ints) -> Batch:
    """Users as they are, all targets at full weight."""
    place, valid = take(source, users, None)
    target = source.target[place] & valid
    return _batch(source, place, valid, target, np.where(target, source.weights[place], 0).astype(np.float32))


def steps_per_epoch(source: Material, options: TowerOptions) -> int:
    """How many batches an epoch has, to within one or two."""
    lengths = np.sort(np.diff(source.starts))[::-1]
    count, at = 0, 0
    while at < len(lengths):
        at += max(8, options.tokens // (int(lengths[at]) + 1))
        count += 1
    return max(count, 1)
