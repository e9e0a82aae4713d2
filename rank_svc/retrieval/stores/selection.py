"""The best of many scores."""

from __future__ import annotations

import numpy as np

from rank_svc.retrieval.store import Floats, Hits, Ints

TIE = 1e-6
"""Scores closer than this, of 1 or of the best, are equal: where a vector lies decides the last bits of a product."""
NONE = Hits(np.zeros(0, np.int64), np.zeros(0, np.float32))
_STRIDE = 16
_TIES = 256


def best(scores: Floats, count: int, ids: Ints) -> Ints:
    """Where the `count` greatest lie, in no order, and a few more that equal the least of them; -inf is none."""
    n = len(scores)
    if count < 1:
        return np.zeros(0, np.int64)
    if count >= n:
        return np.flatnonzero(scores > -np.inf)
    upper = _upper(scores, count)
    some = _greatest(scores, count) if upper is None else upper[_greatest(scores[upper], count)]
    if len(some) <= count + _TIES:
        return some
    least = float(scores[some].min())
    above = scores[some] > least + 2 * _tie(least)
    equal = some[~above]
    places = max(count - int(above.sum()), 1)
    return np.concatenate([some[above], equal[np.argpartition(-ids[equal], min(places, len(equal)) - 1)[:places]]])


def _upper(scores: Floats, count: int) -> Ints | None:
    """A superset of the best that is cheaper to look through: what is above the score that a sample says."""
    wanted = (count * 3 // 2) // _STRIDE + 8
    sample = scores[::_STRIDE]
    if len(sample) < 4 * wanted:
        return None
    least = np.partition(sample, len(sample) - wanted)[len(sample) - wanted]
    some = np.flatnonzero(scores >= least - _tie(float(least)))
    return some if len(some) >= count and len(some) < len(scores) else None


def _greatest(scores: Floats, count: int) -> Ints:
    n = len(scores)
    if count >= n:
        return np.flatnonzero(scores > -np.inf)
    least = float(np.partition(scores, n - count)[n - count])
    if least == -np.inf:
        return np.flatnonzero(scores > -np.inf)
    return np.flatnonzero(scores >= least - _tie(least))


def ranked(ids: Ints, scores: Floats, count: int) -> Hits:
    """The best as an answer: in order, equal scores by greater id."""
    if count < 1 or not len(ids):
        return NONE
    some = best(scores, count, ids)
    if not len(some):
        return NONE
    ids, scores = ids[some], scores[some]
    steps = np.round(scores.astype(np.float64) / _tie(float(np.abs(scores).max())))
    order = np.lexsort((-ids, -steps))[:count]
    return Hits(ids[order], scores[order])


def _tie(score: float) -> float:
    return TIE * max(1.0, abs(score))
