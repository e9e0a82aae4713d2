"""What a ranking of all items is worth, for many users at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rank_svc.train.dataset import Ints

Scores = NDArray[np.float32]
CHUNK = 512
"""Users scored at a time: a chunk holds CHUNK x items numbers."""
Scorer = Callable[[Ints], Scores]
"""Indices of users -> [len, items] scores; larger is better."""


@dataclass(frozen=True, slots=True)
class Question:
    """Who is asked about and what is right. Items are indices into a catalogue of `items` of them."""

    items: int
    users: Ints
    """[u] indices of users in the histories, as the scorer takes them."""
    seen: Sequence[Ints]
    """By asked user, what must not be ranked."""
    truth: Sequence[Ints]
    """By asked user, what is right: at least one each; -1 for items that are not in the catalogue."""
    popularity: Ints
    """[items] how many users have a row of it."""


def best(scores: Scores, k: int) -> Ints:
    """[n, min(k, items)] best first; equal scores by lower index, -inf never before a number."""
    k = min(k, scores.shape[1])
    if k <= 0:
        return np.zeros((len(scores), 0), np.int64)
    top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    top.sort(axis=1)
    order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
    return np.take_along_axis(top, order, 1)


def chunks(users: Ints) -> Iterator[slice]:
    """Slices over the asked users."""
    return (slice(start, start + CHUNK) for start in range(0, len(users), CHUNK))


def measure(question: Question, scorer: Scorer, ks: Sequence[int]) -> dict[str, float]:
    """recall, ndcg, coverage, gini and novelty at each k of `ks`, means over the asked users.

    recall: found / all that is right. ndcg: binary gains, the ideal has min(k, right) at the top. coverage: share of
    the catalogue that is among anyone's k. gini: of exposure over the whole catalogue, 0 when all are shown alike.
    novelty: mean -log2 of the share of users who have a row of what is shown. A k beyond the catalogue shows all of it.
    """
    most = max(1, min(max(ks), question.items))
    gains = 1 / np.log2(np.arange(2, most + 2))
    found_by, gained_by = ({k: np.zeros(len(question.users)) for k in ks} for _ in range(2))
    shown = {k: np.zeros(question.items, np.int64) for k in ks}
    for part in chunks(question.users):
        scores = scorer(question.users[part]).astype(np.float32, copy=True)
        for row, seen in zip(scores, question.seen[part], strict=True):
            row[seen] = -np.inf
        top = best(scores, most)
        allowed = np.take_along_axis(scores, top, 1) > -np.inf
        right = question.truth[part]
        hits = np.stack([np.isin(row, own) for row, own in zip(top, right, strict=True)]) & allowed
        for k in ks:
            found_by[k][part] = hits[:, :k].sum(1)
            gained_by[k][part] = hits[:, :k] @ gains[: min(k, hits.shape[1])]
            shown[k] += np.bincount(top[:, :k][allowed[:, :k]], minlength=question.items)
    counts = np.array([len(right) for right in question.truth], np.float64)
    ideal = np.cumsum(1 / np.log2(np.arange(2, max(counts.max(initial=1), 1) + 2)))
    found: dict[str, float] = {}
    for k in ks:
        found[f"recall@{k}"] = _mean(found_by[k] / counts)
        found[f"ndcg@{k}"] = _mean(gained_by[k] / ideal[np.minimum(counts, k).astype(np.int64) - 1])
        found |= _exposure(shown[k], question, k)
    return found


def _exposure(shown: Ints, question: Question, k: int) -> dict[str, float]:
    surprise = -np.log2((question.popularity + 1) / (question.popularity.max(initial=0) + 1))
    total = int(shown.sum())
    return {
        f"coverage@{k}": float((shown > 0).mean()),
        f"gini@{k}": gini(shown),
        f"novelty@{k}": float((shown * surprise).sum() / total) if total else 0.0,
    }


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0


def gini(counts: Ints) -> float:
    """0 when all are equal, towards 1 when one has everything."""
    ordered = np.sort(counts).astype(np.float64)
    n, total = len(ordered), float(ordered.sum())
    if not n or not total:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))
