"""Vectors from content alone: what a video of a minute ago has instead of a row in the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from rank_svc.scorers.store import Floats
from rank_svc.train.dataset import Ints
from rank_svc.train.served import Content

MOST_AUTHORS, MOST_WORDS = 16_384, 2048
LEAST_ITEMS = 2
"""A word that only one item has says nothing of others; its author will make more."""
RIDGE = 5.0
"""Targets that what an author or word says is drawn to nothing by."""
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
    weights = np.minimum(frequency, ENOUGH).astype(np.float64)
    base = weights @ vectors / max(float(weights.sum()), 1e-9)
    authors = _common(content.author_ids[:, None], 1, MOST_AUTHORS)
    words = _common(np.column_stack([content.tags, content.languages]), LEAST_ITEMS, MOST_WORDS)
    by = _marks([rows_of(authors, content.author_ids, 1)], len(authors))
    told = _marks([rows_of(words, column, 1) for column in (*content.tags.T, content.languages)], len(words))
    missing = weights[:, None] * (vectors - base)
    # Each item has one author: that block of the normal equations is diagonal, and what is left is words x words.
    inverse = 1 / (by.T @ weights + RIDGE)
    across = by.T @ sp.diags(weights) @ told
    gram = np.asarray((told.T @ sp.diags(weights) @ told - across.T @ sp.diags(inverse) @ across).todense())
    gram[np.diag_indices_from(gram)] += RIDGE
    of_authors = inverse[:, None] * (by.T @ missing)
    of_words = np.linalg.solve(gram, told.T @ missing - across.T @ of_authors)
    of_authors -= inverse[:, None] * (across @ of_words)
    table = np.concatenate([np.zeros((1, vectors.shape[1])), of_authors, of_words])
    return ContentMap(authors, words, base.astype(np.float32), table.astype(np.float32))


def from_others(content: Content, vectors: Floats, frequency: NDArray[np.float32], *, parts: int = 5) -> Floats:
    """[n, d] what `fit_content` gives each item when it and a fifth of the others are not learned from: as it will be
    for videos that are really new. Of its own vector nothing is left, not even by an author who made this one alone."""
    part = np.random.default_rng(0).integers(0, parts, len(vectors))
    found = np.zeros_like(vectors)
    for i in range(parts):
        others, mine = np.flatnonzero(part != i), np.flatnonzero(part == i)
        if len(others) and len(mine):
            found[mine] = fit_content(content.of(others), vectors[others], frequency[others]).vectors(content.of(mine))
    return found


def _marks(columns: Sequence[Ints], size: int) -> Any:
    """Sparse [n, size]: 1 where one of `columns` [n] has that number, from 1; 0 is none."""
    n = len(columns[0])
    rows, at = np.tile(np.arange(n), len(columns)), np.concatenate(columns)
    known = at > 0
    matrix = sp.csr_matrix((np.ones(int(known.sum())), (rows[known], at[known] - 1)), (n, size))
    # The same word twice is no more than once.
    matrix.data[:] = 1
    return matrix


def _common(values: Ints, least: int, most: int) -> Ints:
    """The `most` frequent values but 0 that at least so many items have, ascending."""
    found, counts = np.unique(values[values != 0], return_counts=True)
    able = counts >= least
    found, counts = found[able], counts[able]
    return np.sort(found[np.argsort(-counts, kind="stable")[:most]])
