"""What a ranker's predictions are worth: AUC, AUC within users, watch-time order, calibration."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rank_svc.scorers.store import Floats
from rank_svc.train.dataset import Flags, Ints


def auc(labels: Flags, scores: Floats) -> float | None:
    """Chance that a positive is above a negative, ties half; None when there is but one kind."""
    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return None
    ranks = _ranks(scores)
    return float((ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _ranks(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """From 1, the mean rank for ties."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], np.float64)


def group_auc(users: Ints, labels: Flags, scores: Floats) -> float | None:
    """Mean AUC within users, weighted by their rows; users of but one kind are left out."""
    order = np.argsort(users, kind="stable")
    cuts = np.flatnonzero(np.diff(users[order])) + 1
    total = weight = 0.0
    for rows in np.split(order, cuts):
        value = auc(labels[rows], scores[rows])
        if value is not None:
            total, weight = total + value * len(rows), weight + len(rows)
    return total / weight if weight else None


def order_auc(truth: Ints, scores: Floats, *, pairs: int = 1_000_000, seed: int = 0) -> float:
    """XAUC: share of pairs with different truth that the scores put in the right order, ties half; by sampled pairs."""
    random = np.random.default_rng(seed)
    a, b = random.integers(0, len(truth), (2, pairs))
    apart = truth[a] != truth[b]
    up, said = truth[a[apart]] > truth[b[apart]], scores[a[apart]] - scores[b[apart]]
    return float(np.where(said == 0, 0.5, (said > 0) == up).mean()) if apart.any() else 0.5


def calibration_error(labels: Flags, predicted: Floats, bins: int = 20) -> float:
    """Mean distance of predicted and seen rates over bins of as many rows each."""
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(len(p) * abs(labels[p].mean() - predicted[p].mean()) for p in parts) / max(len(order), 1))


def judge(
    users: Ints, labels: Mapping[str, Flags], watched_ms: Ints, predicted: Mapping[str, Floats]
) -> dict[str, float | None]:
    """All figures of one ranker on rows that it has not seen."""
    found: dict[str, float | None] = {}
    for name, truth in labels.items():
        found[f"auc {name}"] = auc(truth, predicted[name])
        found[f"calibration error {name}"] = calibration_error(truth, predicted[name])
    found["gauc long_view"] = group_auc(users, labels["long_view"], predicted["long_view"])
    found["xauc watch_ms"] = order_auc(watched_ms, predicted["watch_ms"])
    return found
