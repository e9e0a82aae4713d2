"""Searching tiles without holding their lock: candidates first, whatever happens meanwhile; they are looked at again,
under the lock, by `MemoryIndex`."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from rank_svc.retrieval.store import Floats, Ints
from rank_svc.retrieval.stores.clusters import Clusters
from rank_svc.retrieval.stores.selection import best
from rank_svc.retrieval.stores.tiles import TILE, Tiles, flat

SPARE = 32
"""Candidates beyond those asked for, for those that are removed during the search."""
WORTHWHILE = 0.3
"""Reading a larger share than this of all lists costs more than comparing all: what lies apart must be copied first."""


@dataclass(frozen=True, slots=True)
class Depths:
    """How far a search must go to miss no more than it may, by how many are wanted. Measured."""

    reach: float
    """See `Clusters.promise`."""
    wanted: tuple[int, ...]
    probes: tuple[int, ...]
    """Lists to read for each of `wanted`."""
    rescored: tuple[int, ...]
    """Candidates by projected vectors that are compared by the vectors themselves; 0: no number is enough."""

    def probes_for(self, k: int) -> int:
        """Between the measured ones by interpolation; beyond them in proportion."""
        return self._at(k, self.probes)

    def rescored_for(self, k: int) -> int:
        """The same, of `rescored`."""
        within = bisect_left(self.wanted, k)
        return self._at(k, self.rescored) if self.rescored[min(within, len(self.rescored) - 1)] else 0

    def _at(self, k: int, values: Sequence[int]) -> int:
        if k > self.wanted[-1]:
            return -(-values[-1] * k // self.wanted[-1])
        return int(np.ceil(np.interp(k, self.wanted, values)))


@dataclass(frozen=True, slots=True)
class View:
    """What one search sees: the arrays of this moment. Their contents change; a later write is in the journal."""

    tiles: Tiles
    rows: Floats
    scan: Floats
    ids: Ints
    used: int
    write: int
    clusters: Clusters | None
    depths: Depths | None

    def compare_all(self, query: Floats, count: int, barred: Ints) -> Ints:
        """Places of the best of all."""
        scores = flat(self.rows[: self.used]) @ query
        ids = self.ids[: self.used].reshape(-1)
        scores[ids == 0] = -np.inf
        scores[barred[barred < len(scores)]] = -np.inf
        return best(scores, count, ids)

    def probe(self, query: Floats, count: int, barred: Ints) -> Ints | None:
        """Places of the best of the lists that promise most; None where comparing all is cheaper or needed."""
        if self.clusters is None or self.depths is None:
            return None
        projected = self.clusters.project(query)
        rescored = self.depths.rescored_for(count) if self.tiles.projected else count
        lists = self._lists(self.clusters.promise(projected, self.depths.reach), count, rescored, barred)
        if lists is None or not rescored:
            return None
        tiles = np.fromiter(chain.from_iterable(map(self.tiles.tiles_of.__getitem__, lists.tolist())), np.int64)
        tiles = tiles[tiles < len(self.ids)]
        scores = _products(self.scan, tiles, projected)
        ids = np.take(self.ids, tiles, axis=0).reshape(-1)
        scores[ids == 0] = -np.inf
        _bar(scores, tiles, barred, len(self.ids))
        found = best(scores, rescored, ids)
        places = tiles[found // TILE] * TILE + found % TILE
        return self._rescore(query, places, count) if self.tiles.projected else places

    def _lists(self, promise: Floats, count: int, least: int, barred: Ints) -> Ints | None:
        """The lists to read; None where that is too many. What is barred in them is in the way of as many others: it
        is as if so many more were wanted."""
        assert self.depths is not None
        sizes, most = self.tiles.sizes, len(promise)
        barred_in = np.bincount(self.tiles.list_of[barred // TILE], minlength=most)
        probes = min(self.depths.probes_for(count), most)
        while True:
            lists = np.argpartition(-promise, probes - 1)[:probes] if probes < most else np.arange(most)
            read = int(sizes[lists].sum())
            if read > WORTHWHILE * int(sizes.sum()):
                return None
            away = int(barred_in[lists].sum())
            enough = self.depths.probes_for(count + away)
            if probes == most or (probes >= enough and read - away >= least):
                return lists
            probes = min(max(enough, probes + probes // 4 + 1), most)

    def _rescore(self, query: Floats, places: Ints, count: int) -> Ints:
        scores = flat(self.rows)[places] @ query
        return places[best(scores, count, places)]


_scratch = threading.local()
_AT_ONCE = 1 << 20
"""Numbers that are copied together before they are multiplied: 4 MiB, which stay in the cache."""


def _products(scan: Floats, tiles: Ints, projected: Floats) -> Floats:
    """[tiles * TILE] inner products: a few long copies and products, each without the interpreter's lock. One product a
    list would be quicker alone, but takes that lock again as often as there are lists."""
    step = max(1, _AT_ONCE // (TILE * scan.shape[2]))
    buffer = getattr(_scratch, "numbers", None)
    if buffer is None or len(buffer) < step * TILE * scan.shape[2]:
        buffer = _scratch.numbers = np.empty(step * TILE * scan.shape[2], np.float32)
    scores = np.empty(len(tiles) * TILE, np.float32)
    for start in range(0, len(tiles), step):
        some = tiles[start : start + step]
        copied = buffer[: len(some) * TILE * scan.shape[2]].reshape(len(some), TILE, -1)
        np.take(scan, some, axis=0, out=copied, mode="clip")
        np.dot(flat(copied), projected, out=scores[start * TILE : (start + len(some)) * TILE])
    return scores


def _bar(scores: Floats, tiles: Ints, barred: Ints, most: int) -> None:
    if len(barred):
        at = np.full(most, -1, np.int64)
        at[tiles] = np.arange(len(tiles))
        barred = barred[barred < most * TILE]
        read = at[barred // TILE]
        scores[read[read >= 0] * TILE + barred[read >= 0] % TILE] = -np.inf


MEASURED = (10, 100, 500, 2000)
TARGET = 0.99
"""Of the exact nearest, the share that must lie in the lists that are read: a little more than is promised, for what
a sample of queries does not tell."""
REACHES = (0.0, 1.0, 2.0, 4.0)
RESCORED = (2, 4, 8, 16, 32)
"""Multiples of what is wanted; with `_LEAST_RESCORED` as the least."""
_LEAST_RESCORED = 500


@dataclass(frozen=True, slots=True)
class Truth:
    """What is exactly nearest to some queries."""

    lists: Ints
    """[q, most] the list of each, nearest first."""
    order: tuple[Ints, ...]
    """For each of REACHES, [q, most] at which place that list comes by its promise."""
    rows: tuple[Floats, ...]
    """For each of REACHES, [lists] vectors that are read by so many probes, on average."""
    approximate: Floats
    """[q, RESCORED, MEASURED] share of the nearest that are among so many by projected vectors."""


def observe(view: View, query: Floats, most: int) -> Truth:
    """Compare one query with all; under 50 ms for a million vectors of 64 dimensions."""
    assert view.clusters is not None
    scores = flat(view.rows[: view.used]) @ query
    ids = view.ids[: view.used].reshape(-1)
    scores[ids == 0] = -np.inf
    some = best(scores, most, ids)
    near = some[np.argsort(-scores[some], kind="stable")][:most]
    lists = view.tiles.list_of[near // TILE]
    projected, sizes = view.clusters.project(query), view.tiles.sizes
    order, rows = [], []
    for reach in REACHES:
        first = np.argsort(-view.clusters.promise(projected, reach), kind="stable")
        place = np.empty(len(first), np.int64)
        place[first] = np.arange(len(first))
        order.append(place[lists][None])
        rows.append(np.cumsum(sizes[first]).astype(np.float32))
    approximate = _approximate(view, projected, near, ids) if view.tiles.projected else np.ones((0, 0), np.float32)
    return Truth(lists[None], tuple(order), tuple(rows), approximate[None])


def _approximate(view: View, projected: Floats, near: Ints, ids: Ints) -> Floats:
    scores = flat(view.scan[: view.used]) @ projected
    scores[ids == 0] = -np.inf
    shares = np.zeros((len(RESCORED), len(MEASURED)), np.float32)
    for column, wanted in enumerate(MEASURED):
        for row, times in enumerate(RESCORED):
            count = min(max(wanted * times, _LEAST_RESCORED), len(scores))
            least = np.partition(scores, len(scores) - count)[len(scores) - count]
            shares[row, column] = np.mean(scores[near[:wanted]] >= least)
    return shares


def depths_from(groups: Sequence[Sequence[Truth]]) -> Depths:
    """The least depths at which every group of queries finds what it should."""
    groups = [group for group in groups if group]
    lists = len(groups[0][0].rows[0])
    choices = []
    for n, reach in enumerate(REACHES):
        probes = np.maximum.accumulate(
            [max(_probes(group, n, wanted) for group in groups) for wanted in MEASURED]
        ).tolist()
        cost = max(float(np.mean([truth.rows[n][min(probes[2], lists) - 1] for truth in group])) for group in groups)
        choices.append((cost, reach, tuple(probes)))
    _, reach, probes = min(choices)
    return Depths(reach, MEASURED, probes, _rescored(groups))


def _probes(group: Sequence[Truth], reach: int, wanted: int) -> int:
    places = np.sort(np.concatenate([truth.order[reach][0, :wanted] for truth in group]))
    return int(places[min(int(np.ceil(TARGET * len(places))), len(places)) - 1]) + 1


def _rescored(groups: Sequence[Sequence[Truth]]) -> tuple[int, ...]:
    if not groups[0][0].approximate.size:
        return MEASURED
    shares = np.min([np.mean([truth.approximate[0] for truth in group], axis=0) for group in groups], axis=0)
    return tuple(_enough(shares[:, at], wanted) for at, wanted in enumerate(MEASURED))


def _enough(shares: Floats, wanted: int) -> int:
    """The least number of candidates that hold enough of the wanted; 0 for none."""
    counts = (max(times * wanted, _LEAST_RESCORED) for times in RESCORED)
    return next((count for count, share in zip(counts, shares, strict=True) if share >= TARGET), 0)
