"""Honest rivals: popularity, recent popularity, ItemKNN, EASE, iALS, in sparse linear algebra."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from rank_svc.train.dataset import Ints
from rank_svc.train.histories import DAY_MS, Histories, item_codes
from rank_svc.train.metrics import Scorer, Scores

EASE_MOST_ITEMS = 20_000
"""EASE inverts items x items: 3 GB at this number. Of more items, only the most popular ones."""


def positives(histories: Histories, catalogue: Ints) -> Any:
    """Sparse [users, items]: 1 for each positive."""
    codes = item_codes(catalogue, histories.items)
    keep = histories.positive
    shape = (len(histories.users), len(catalogue))
    values = np.ones(int(keep.sum()), np.float32)
    return sp.csr_matrix((values, (histories.owner[keep], codes[keep])), shape)


def baselines(histories: Histories, catalogue: Ints, *, seed: int = 0) -> Iterator[tuple[str, Scorer]]:
    """(name, scorer) of each, fitted when asked for."""
    matrix = positives(histories, catalogue)
    yield "popularity", _same_for_all(np.asarray(matrix.sum(0), np.float32).ravel())
    if histories.ordered:
        yield "recent popularity", _same_for_all(_recent(histories, catalogue))
    yield "ItemKNN", _neighbours(matrix)
    yield "EASE", _ease(matrix)
    yield "iALS", _ials(matrix, seed=seed)


def _same_for_all(row: Scores) -> Scorer:
    return lambda users: np.tile(row, (len(users), 1))


def _recent(histories: Histories, catalogue: Ints, *, days: float = 7.0) -> Scores:
    keep = histories.positive & (histories.times_ms >= histories.end_ms - days * DAY_MS)
    codes = item_codes(catalogue, histories.items[keep])
    return np.bincount(codes, minlength=len(catalogue)).astype(np.float32)


def _by_items(matrix: Any, weights: Any) -> Scorer:
    def score(users: Ints) -> Scores:
        found = matrix[users] @ weights
        return np.asarray(found.todense() if sp.issparse(found) else found, np.float32)

    return score


def _ease(matrix: Any) -> Scorer:
    """Of catalogues beyond EASE_MOST_ITEMS the most popular items; the others are ranked last."""
    items = matrix.shape[1]
    if items <= EASE_MOST_ITEMS:
        return _by_items(matrix, ease(matrix))
    print(f"EASE: of {items} items the {EASE_MOST_ITEMS} most popular ones", file=sys.stderr)
    common = np.sort(np.argsort(-np.asarray(matrix.sum(0)).ravel(), kind="stable")[:EASE_MOST_ITEMS])
    score = _by_items(matrix[:, common], ease(matrix[:, common]))

    def padded(users: Ints) -> Scores:
        found = np.full((len(users), items), -1e9, np.float32)
        found[:, common] = score(users)
        return found

    return padded


def _neighbours(matrix: Any, *, k: int = 200, shrink: float = 20.0, rows: int = 1024) -> Scorer:
    """Cosine of items over users, shrunk, the k nearest of each item."""
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(0)).ravel()) + 1e-9
    transposed = matrix.T.tocsr()
    blocks = []
    for start in range(0, transposed.shape[0], rows):
        part = transposed[start : start + rows]
        both = np.asarray((part @ matrix).todense(), np.float32)
        cosine = both / (length[start : start + rows, None] * length[None] + shrink)
        at = np.arange(len(cosine))
        cosine[at, start + at] = 0
        if cosine.shape[1] > k:
            least = -np.partition(-cosine, k, axis=1)[:, k, None]
            cosine[cosine <= least] = 0
        blocks.append(sp.csr_matrix(cosine))
    return _by_items(matrix, sp.vstack(blocks).T.tocsr())


def ease(matrix: Any, *, ridge: float = 200.0) -> NDArray[np.float32]:
    """[items, items] with zeros on the diagonal (Steck 2019)."""
    gram = np.asarray((matrix.T @ matrix).todense(), np.float64)
    gram[np.diag_indices_from(gram)] += ridge
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices_from(weights)] = 0
    return weights.astype(np.float32)


def _ials(
    matrix: Any, *, dimensions: int = 64, rounds: int = 12, ridge: float = 0.003, unseen: float = 0.1, seed: int = 0
) -> Scorer:
    """Alternating least squares on all cells (Hu et al.), ridge in proportion to frequency (Rendle et al. 2021)."""
    random = np.random.default_rng(seed)
    users, items = matrix.shape
    item = (random.standard_normal((items, dimensions)) * 0.1 / dimensions**0.5).astype(np.float32)
    user = np.zeros((users, dimensions), np.float32)
    transposed = matrix.T.tocsr()
    for _ in range(rounds):
        _solve(matrix, item, user, ridge, unseen)
        _solve(transposed, user, item, ridge, unseen)
    _solve(matrix, item, user, ridge, unseen)
    return lambda asked: user[asked] @ item.T


def _solve(matrix: Any, fixed: Scores, out: Scores, ridge: float, unseen: float) -> None:
    gram = unseen * (fixed.T @ fixed)
    eye = np.eye(fixed.shape[1], dtype=np.float32)
    pointer, columns = matrix.indptr, matrix.indices
    for i in range(matrix.shape[0]):
        rows = fixed[columns[pointer[i] : pointer[i + 1]]]
        if not len(rows):
            out[i] = 0
            continue
        weight = ridge * (len(rows) + unseen * len(fixed))
        out[i] = np.linalg.solve(gram + rows.T @ rows + weight * eye, rows.sum(0))
