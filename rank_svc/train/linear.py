"""A linear item-to-item model in closed form, and its best approximation as one more part of both vectors.

EASE (Steck 2019) tells items apart that gradient steps have not got round to. Here it predicts recent positives from
all rows, weighted as the towers' targets are, and keeps `rank` directions: user = sum of history rows x left,
item = right.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp

from rank_svc.scorers.store import Floats
from rank_svc.train.batches import Material
from rank_svc.train.dataset import Ints
from rank_svc.train.options import TowerOptions

MOST_ITEMS = 20_000
"""Items x items have to fit into memory, twice: 3.2 GB at this number. Beyond, the rarer items have no linear part."""
ACTION_WEIGHTS = np.array([0.0, 0.3, 1.0, 1.0], np.float32)
"""What a history row weighs, by action."""
RIDGE, LENGTH_SCALE = 20.0, 3.0
OVERSAMPLE, ROUNDS = 32, 2


@dataclass(frozen=True, slots=True)
class Linear:
    """Factors, with a row of zeros for padding in front."""

    left: Floats
    """[items + 1, rank]; a user is the weighted sum over the history, divided by the root of its length."""
    right: Floats
    """[items + 1, rank]"""


def fit_linear(source: Material, options: TowerOptions, *, seed: int = 0, ridge: float = RIDGE) -> Linear:
    """The factors, of scores whose mean deviation over items is 1 for users of the data; zeros where there is nothing
    to learn from. Of more than MOST_ITEMS items the rare ones have zeros."""
    common = _common(source)
    rank = min(options.linear, len(common))
    nothing = Linear(*(np.zeros((source.items + 1, options.linear), np.float32) for _ in range(2)))
    if not rank or not source.target.any():
        return nothing
    inputs, targets = (matrix[:, common] for matrix in _matrices(source, options))
    left, right = _factors(inputs, targets, rank, np.random.default_rng(seed), ridge)
    some = inputs[: min(inputs.shape[0], 1000)]
    spread = float(np.asarray((some @ left) @ right.T).std(1).mean())
    if not np.isfinite(spread) or spread <= 0:
        return nothing
    nothing.left[common + 1, :rank] = left / spread
    nothing.right[common + 1, :rank] = right
    return nothing


def _common(source: Material) -> Ints:
    """Items of the linear part, ascending from 0: the MOST_ITEMS with most rows. Says so where some are left out."""
    if source.items <= MOST_ITEMS:
        return np.arange(source.items)
    print(f"linear part: of {source.items} items the {MOST_ITEMS} most popular ones", file=sys.stderr)
    counts = np.bincount(source.rows, minlength=source.items + 1)[1:]
    return np.sort(np.argsort(-counts, kind="stable")[:MOST_ITEMS])


def _matrices(source: Material, options: TowerOptions) -> tuple[Any, Any]:
    """Sparse [users, items]: what is known of a user, and what is to be predicted."""
    lengths = np.diff(source.starts)
    owner = np.repeat(np.arange(source.users), lengths)
    shape = (source.users, source.items)
    known = ACTION_WEIGHTS[source.actions] * LENGTH_SCALE / np.sqrt(np.maximum(lengths, 1))[owner]
    inputs = sp.csr_matrix((known.astype(np.float32), (owner, source.rows - 1)), shape)
    worth = np.exp(-source.days / options.linear_days) * source.target
    targets = sp.csr_matrix((worth.astype(np.float32), (owner, source.rows - 1)), shape)
    targets.eliminate_zeros()
    return inputs, targets


def _factors(inputs: Any, targets: Any, rank: int, random: np.random.Generator, ridge: float) -> tuple[Floats, Floats]:
    gram = np.asarray((inputs.T @ inputs).todense(), np.float32)
    gram[np.diag_indices_from(gram)] += ridge
    cross = (inputs.T @ targets).tocsr()
    factor, failed = la.lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, failed = la.lapack.spotri(factor, lower=1, overwrite_c=1) if not failed else (factor, failed)
    if failed:
        raise ValueError("the linear part can't be solved: the data is degenerate; train with linear=0")
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    # The multiplier of each item that keeps it from predicting itself.
    itself = np.asarray(cross.T.multiply(inverse).sum(1)).ravel() / np.diag(inverse)

    def times(right: Floats) -> Floats:
        """B @ right, B = inverse @ (cross - diag(itself)), without ever making B."""
        return np.asarray(inverse @ (cross @ right - itself[:, None] * right), np.float32)

    def transposed(left: Floats) -> Floats:
        found = inverse @ left
        return np.asarray(cross.T @ found - itself[:, None] * found, np.float32)

    basis = _range(times, transposed, inputs, rank, random)
    return times(basis), basis


def _range(
    times: Callable[[Floats], Floats],
    transposed: Callable[[Floats], Floats],
    inputs: Any,
    rank: int,
    random: np.random.Generator,
) -> Floats:
    """[items, rank] orthonormal: the directions in which scores of the data's users vary most."""
    wide = min(rank + OVERSAMPLE, inputs.shape[1])
    basis = random.standard_normal((inputs.shape[1], wide)).astype(np.float32)
    for _ in range(ROUNDS):
        basis = np.linalg.qr(transposed(np.asarray(inputs.T @ (inputs @ times(basis)), np.float32)))[0]
    scores = np.asarray(inputs @ times(basis), np.float32)
    values, vectors = np.linalg.eigh(scores.T @ scores)
    return np.asarray(basis @ vectors[:, np.argsort(-values)[:rank]], np.float32)
