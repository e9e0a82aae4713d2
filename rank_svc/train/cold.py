"""Vectors from content alone: what a video of a minute ago has instead of a row in the tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from rank_svc.scorers.store import Floats
from rank_svc.train.dataset import Ints
from rank_svc.train.served import Content

MOST_WORDS = 4096
LEAST_ITEMS = 2
"""A word that only one item has says nothing of others."""
RIDGE = 5.0
ENOUGH = 50.0
"""Targets beyond which an item's vector is not more to be trusted."""


@dataclass(frozen=True, slots=True)
class ContentMap:
    """vector = base + sum over known authors and words of their rows. Row 0 of `table` is zeros."""

    authors: Ints
    """[a] ids; row 1 + i of the table."""
    words: Ints
    """[w] tokens of tags and languages; row 1 + a + i."""
    base: Floats
    """[d]"""
    table: Floats
    """[1 + a + w, d]"""

    def vectors(self, content: Content) -> Floats:
        """[n, d] of all items of a catalogue."""
        found = np.tile(self.base, (len(content.author_ids), 1))
        found += self.table[rows_of(self.authors, content.author_ids, 1)]
        first = 1 + len(self.authors)
        for column in (*content.tags.T, content.languages):
            found += self.table[rows_of(self.words, column, first)]
        return found


def rows_of(keys: Ints, values: Ints, first: int) -> Ints:
    """`first` + index in the ascending keys; 0 for what is not among them."""
    if not len(keys):
        return np.zeros(values.shape, np.int64)
    place = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    return np.where(keys[place] == values, place + first, 0).astype(np.int64)


def fit_content(content: Content, vectors: Floats, frequency: NDArray[np.float32]) -> ContentMap:
    """Ridge regression of trained item vectors [n, d] on content, each item weighed by how often it was a target."""
    weights = np.minimum(frequency, ENOUGH)
    total = max(float(weights.sum()), 1e-9)
    base = (weights @ vectors / total).astype(np.float32)
    authors = _common(content.author_ids[:, None])
    words = _common(np.column_stack([content.tags, content.languages]))
    first = 1 + len(authors)
    columns = [rows_of(authors, content.author_ids, 1)]
    columns += [rows_of(words, column, first) for column in (*content.tags.T, content.languages)]
    size = first + len(words)
    rows = np.tile(np.arange(len(vectors)), len(columns))
    at = np.concatenate(columns)
    keep = at > 0
    matrix = sp.csr_matrix((np.ones(int(keep.sum()), np.float64), (rows[keep], at[keep])), (len(vectors), size))
    matrix.data[:] = 1
    weighted = sp.diags(weights.astype(np.float64)) @ matrix
    gram = np.asarray((matrix.T @ weighted).todense())
    gram[np.diag_indices_from(gram)] += RIDGE * max(1.0, total / max(len(vectors), 1))
    table = np.linalg.solve(gram, weighted.T @ (vectors - base).astype(np.float64)).astype(np.float32)
    table[0] = 0
    return ContentMap(authors, words, base, table)


def _common(values: Ints) -> Ints:
    """The most frequent values but 0, ascending: half of MOST_WORDS at the most."""
    found, counts = np.unique(values[values != 0], return_counts=True)
    able = counts >= LEAST_ITEMS
    found, counts = found[able], counts[able]
    return np.sort(found[np.argsort(-counts, kind="stable")[: MOST_WORDS // 2]])
