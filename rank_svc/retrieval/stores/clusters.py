"""Lists of an inverted file: what lies near one centroid is one list, and a search reads those that promise most.

k-means after Lloyd on a sample. Vectors of many dimensions are projected first, to those that hold most of their
length (principal components, not centred: inner products are to stay).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import numpy as np

from rank_svc.retrieval.store import Floats, Ints

ROUNDS = 6
SAMPLE = 32
"""Vectors a centroid is trained on."""
WIDEST = 128
"""Vectors of more dimensions are projected."""
NARROWEST = 64
ENERGY = 0.9
"""The narrower projection must hold so much of the vectors' squared length."""
SLICE = 2_000_000
"""Products that are made at once: they stay in the cache, and others get their turn after a few of these."""


def lists_for(n: int) -> int:
    """How many lists n vectors are kept in."""
    return max(1, min(int(1.5 * math.sqrt(n)), n // 4))


@dataclass(frozen=True, slots=True)
class Clusters:
    """Centroids of the lists, in the space that a search reads first."""

    centroids: Floats
    """[lists, m]"""
    spread: Floats
    """[lists] root mean square distance of a list's vectors from its centroid, along one direction."""
    projection: Floats | None
    """[d, m]; None when the vectors are read as they are."""
    _lengths: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lengths", 0.5 * (self.centroids**2).sum(axis=1))

    def project(self, vectors: Floats) -> Floats:
        """[n, d] to [n, m]"""
        return vectors if self.projection is None else np.asarray(vectors @ self.projection, np.float32)

    def nearest(self, projected: Floats) -> Ints:
        """[n] the list of each of [n, m]."""
        at = np.empty(len(projected), np.int64)
        step = max(1, SLICE // len(self.centroids))
        for start in range(0, len(projected), step):
            products = projected[start : start + step] @ self.centroids.T
            products -= self._lengths
            at[start : start + step] = np.argmax(products, axis=1)
        return at

    def promise(self, projected: Floats, reach: float) -> Floats:
        """[lists] the greater, the sooner a list is read for [m] a query: the inner product with its centroid, and
        `reach` deviations more for what lies around that. Vectors of unlike length have lists of unlike spread."""
        promised = self.centroids @ projected
        if reach:
            promised += np.float32(reach * np.linalg.norm(projected)) * self.spread
        return np.asarray(promised, np.float32)


def projection_of(sample: Floats) -> Floats | None:
    """[d, m] the principal directions of [n, d]; None when d is small."""
    if sample.shape[1] <= WIDEST:
        return None
    values, directions = np.linalg.eigh(sample.T @ sample)
    energy = np.cumsum(values[::-1]) / max(float(values.sum()), 1e-30)
    width = NARROWEST if energy[NARROWEST - 1] >= ENERGY else WIDEST
    return np.ascontiguousarray(directions[:, ::-1][:, :width], np.float32)


def train(sample: Floats, lists: int, seed: int) -> Generator[bool, None, Clusters]:
    """Clusters of [n, d]; yields True where it may pause."""
    random = np.random.default_rng(seed)
    projection = projection_of(sample)
    yield True
    points = sample if projection is None else np.asarray(sample @ projection, np.float32)
    made = Clusters(_spread_out(points, lists, random), np.zeros(lists, np.float32), projection)
    for _ in range(ROUNDS):
        at = np.empty(len(points), np.int64)
        for start, stop in slices(len(points), lists):
            at[start:stop] = made.nearest(points[start:stop])
            yield True
        made = _moved(made, points, at, random)
        yield True
    return made


def slices(n: int, lists: int, products: int = 4 * SLICE) -> Iterator[tuple[int, int]]:
    """Ranges of n rows, each of about so many products with `lists` centroids."""
    step = max(1, products // lists)
    for start in range(0, n, step):
        yield start, min(start + step, n)


def _spread_out(points: Floats, lists: int, random: np.random.Generator) -> Floats:
    return points[random.choice(len(points), lists, replace=len(points) < lists)].copy()


def _moved(old: Clusters, points: Floats, at: Ints, random: np.random.Generator) -> Clusters:
    """Each centroid to the mean of its points; one without any to a random point."""
    lists = len(old.centroids)
    sizes = np.bincount(at, minlength=lists)
    some = np.flatnonzero(sizes)
    order = np.argsort(at, kind="stable")
    first = (np.cumsum(sizes) - sizes)[some]
    centroids = _spread_out(points, lists, random)
    centroids[some] = np.add.reduceat(points[order], first, axis=0) / sizes[some, None]
    apart = ((points - centroids[at]) ** 2).sum(axis=1)
    spread = np.zeros(lists, np.float32)
    spread[some] = np.sqrt(np.add.reduceat(apart[order], first) / sizes[some] / points.shape[1])
    return Clusters(centroids, spread, old.projection)
