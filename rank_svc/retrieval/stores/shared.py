"""The tiles that are served, and who may touch them when.

One lock for what is short: writing a chunk, taking a view, looking at candidates again. Another, taken first, for
writers alone: while they copy to grow or find a vector's list, searches go on.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from rank_svc.retrieval.store import Floats, Ints
from rank_svc.retrieval.stores.clusters import Clusters
from rank_svc.retrieval.stores.probing import Depths, View
from rank_svc.retrieval.stores.tiles import TILE, Tiles, flat


class Shared:
    """Safe to call from any thread."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self.lock = threading.Lock()
        self.writing = threading.Lock()
        self.tiles = Tiles(dimensions, 1)
        self.clusters: Clusters | None = None
        self.depths: Depths | None = None
        self.changes = 0
        """Vectors added and removed, ever."""
        self._touched: set[int] | None = None

    def add(self, ids: Sequence[int], rows: Floats) -> None:
        """Insert or replace."""
        with self.writing:
            tiles, clusters = self.tiles, self.clusters
            scan = rows if clusters is None else clusters.project(rows)
            lists = [0] * len(ids) if clusters is None else clusters.nearest(scan).tolist()
            tiles.reserve(len(ids), self.lock)
            with self.lock:
                tiles.put(ids, rows, scan, lists)
                self._touch(ids)

    def remove(self, ids: Sequence[int]) -> None:
        """Remove; unknown ids are ignored."""
        with self.writing, self.lock:
            for i in ids:
                self.tiles.drop(i)
            self._touch(ids)

    def _touch(self, ids: Sequence[int]) -> None:
        self.changes += len(ids)
        if self._touched is not None:
            self._touched.update(ids)

    def view(self) -> View:
        """What there is now."""
        with self.lock:
            tiles = self.tiles
            return View(tiles, tiles.rows, tiles.scan, tiles.ids, tiles.used, tiles.writes, self.clusters, self.depths)

    def again(self, view: View, places: Ints) -> tuple[Ints, Floats, int]:
        """What is at these places of a view now, and at those that were written since: ids, their vectors, and how many
        writes there were. What was removed is not among it."""
        with self.lock:
            tiles, was = self.tiles, view.tiles
            writes = was.writes - view.write
            if writes:
                places = np.union1d(places, was.written_since(view.write))
            if tiles is not was:
                ids = was.ids.reshape(-1)[places].tolist()
                moved = [place for place in map(tiles.places.get, ids) if place is not None]
                places = np.union1d(np.array(moved, np.int64), tiles.written_since(0))
                writes += tiles.writes
            ids_now = tiles.ids[places // TILE, places % TILE]
            there = np.flatnonzero(ids_now)
            return ids_now[there], flat(tiles.rows)[places[there]], writes

    def follow(self) -> None:
        """From now on remember which ids are touched."""
        with self.lock:
            self._touched = set()

    def unfollow(self) -> None:
        """No longer."""
        with self.lock:
            self._touched = None

    def touch(self, ids: Sequence[int]) -> None:
        """Count these as touched."""
        with self.lock:
            if self._touched is not None:
                self._touched.update(ids)

    def touched(self, most: int) -> tuple[list[int], list[int], Floats, bool]:
        """Some of the ids that were touched, and no longer remembered as such: those that are gone; those that are
        there and their vectors; and whether these were the last."""
        with self.lock:
            assert self._touched is not None
            some = [self._touched.pop() for _ in range(min(most, len(self._touched)))]
            places = self.tiles.places
            there = [i for i in some if i in places]
            at = np.array([places[i] for i in there], np.int64)
            return [i for i in some if i not in places], there, flat(self.tiles.rows)[at], not self._touched

    def serve(self, tiles: Tiles, clusters: Clusters | None, depths: Depths | None) -> None:
        """Put these in the place of what is served."""
        with self.lock:
            self.tiles, self.clusters, self.depths = tiles, clusters, depths

    def clear(self) -> None:
        """Forget everything."""
        with self.writing:
            self.serve(Tiles(self._dimensions, 1), None, None)
