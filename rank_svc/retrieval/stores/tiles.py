"""Vectors in tiles: blocks of 64 rows that belong to one list each, so that a list is read as a few long runs.

A place is the number of a row in all tiles. A list's tiles are full except its last one: removing moves the list's
last row into the place that gets free. Places that were written are remembered for a while, so that a search that
began earlier can look at them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rank_svc.retrieval.store import Floats, Ints

T = TypeVar("T", bound=np.generic)

TILE = 64
JOURNAL = 4096
"""How many of the last writes are remembered."""


class Tiles:
    """Not safe by itself: one writer at a time, and under the lock of its owner."""

    def __init__(self, dimensions: int, lists: int, scanned: int | None = None, tiles: int = 16) -> None:
        self.rows: Floats = np.empty((tiles, TILE, dimensions), np.float32)
        """[tiles, TILE, d]"""
        self.scan: Floats = self.rows if scanned is None else np.empty((tiles, TILE, scanned), np.float32)
        """[tiles, TILE, m] what a search reads first: `rows` itself, or their projection."""
        self.ids: Ints = np.zeros((tiles, TILE), np.int64)
        """[tiles, TILE] 0 where there is none."""
        self.list_of: Ints = np.zeros(tiles, np.int64)
        """[tiles]"""
        self.tiles_of: list[list[int]] = [[] for _ in range(lists)]
        self.sizes: Ints = np.zeros(lists, np.int64)
        """[lists] vectors in each."""
        self.places: dict[int, int] = {}
        self.used = 0
        """Tiles that were ever handed out; what lies behind is not initialised."""
        self.writes = 0
        self._free: list[int] = []
        self._journal: Ints = np.zeros(JOURNAL, np.int64)

    @property
    def projected(self) -> bool:
        """Whether a search reads something else than the vectors first."""
        return self.scan is not self.rows

    @property
    def nbytes(self) -> int:
        """Memory of the tiles that are in use, without the dictionary of places."""
        vectors = [self.rows, *([self.scan] if self.projected else [])]
        return sum(array[: self.used].nbytes for array in vectors) + self.ids[: self.used].nbytes

    def reserve(self, more: int, lock: Lock) -> None:
        """Make room for so many vectors of any lists. Copies without the lock: searches go on meanwhile."""
        needed = self.used + more
        if needed <= len(self.ids):
            return
        room = max(needed, len(self.ids) * 3 // 2)
        rows = _longer(self.rows, room, self.used)
        scan = _longer(self.scan, room, self.used) if self.projected else rows
        ids, list_of = np.zeros((room, TILE), np.int64), _longer(self.list_of, room, self.used)
        ids[: self.used] = self.ids[: self.used]
        with lock:
            self.rows, self.scan, self.ids, self.list_of = rows, scan, ids, list_of

    def put(self, ids: Sequence[int], rows: Floats, scan: Floats, lists: Sequence[int]) -> None:
        """Insert or replace; `reserve` was called for as many."""
        if len(set(ids)) == len(ids) and self.places.keys().isdisjoint(ids):
            places = [self._slot(at) for at in lists]
            self._write(np.array(places, np.int64), np.array(ids, np.int64), rows, scan)
            self.places.update(zip(ids, places, strict=True))
            return
        for n, (i, at) in enumerate(zip(ids, lists, strict=True)):
            place = self.places.get(i)
            if place is None or self.list_of[place // TILE] != at:
                self.drop(i)
                place = self.places[i] = self._slot(at)
            self._write(np.array([place]), np.array([i]), rows[n : n + 1], scan[n : n + 1])

    def _write(self, places: Ints, ids: Ints, rows: Floats, scan: Floats) -> None:
        tiles, slots = places // TILE, places % TILE
        self.rows[tiles, slots] = rows
        if self.projected:
            self.scan[tiles, slots] = scan
        self.ids[tiles, slots] = ids
        self._journal[(self.writes + np.arange(len(places))) % JOURNAL] = places
        self.writes += len(places)

    def _slot(self, at: int) -> int:
        slot = int(self.sizes[at]) % TILE
        if not slot:
            tile = self._free.pop() if self._free else self.used
            self.used = max(self.used, tile + 1)
            self.list_of[tile], self.ids[tile] = at, 0
            # What was never written may be no number at all.
            self.rows[tile] = self.scan[tile] = 0
            self.tiles_of[at].append(tile)
        self.sizes[at] += 1
        return self.tiles_of[at][-1] * TILE + slot

    def drop(self, i: int) -> None:
        """Remove; an unknown one is ignored."""
        place = self.places.pop(i, None)
        if place is None:
            return
        at = int(self.list_of[place // TILE])
        size = int(self.sizes[at]) - 1
        last = self.tiles_of[at][-1] * TILE + size % TILE
        tile, slot = divmod(last, TILE)
        if place != last:
            moved = int(self.ids[tile, slot])
            self._write(np.array([place]), np.array([moved]), self.rows[tile, slot][None], self.scan[tile, slot][None])
            self.places[moved] = place
        self.ids[tile, slot] = 0
        self.sizes[at] = size
        if not size % TILE:
            self._free.append(self.tiles_of[at].pop())

    def written_since(self, write: int) -> Ints:
        """Places that were written after so many writes; no more than the last JOURNAL."""
        first = max(write, self.writes - JOURNAL)
        return np.unique(self._journal[np.arange(first, self.writes) % JOURNAL])

    def lay_out(self, ids: Ints, lists: Ints) -> Ints:
        """Give each of many vectors its place at once, in tiles that were never used; returns the places. The rows are
        still to be written: to `flat`."""
        order = np.argsort(lists, kind="stable")
        sizes = np.bincount(lists, minlength=len(self.tiles_of))
        tiles = -(-sizes // TILE)
        first = np.cumsum(tiles) - tiles
        within = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        places = np.empty(len(ids), np.int64)
        places[order] = np.repeat(first * TILE, sizes) + within
        self.used, self.sizes = int(tiles.sum()), sizes.astype(np.int64)
        self.tiles_of = [list(range(a, a + n)) for a, n in zip(first.tolist(), tiles.tolist(), strict=True)]
        self.list_of[: self.used] = np.repeat(np.arange(len(tiles)), tiles)
        self.ids.reshape(-1)[places] = ids
        last = (first + tiles - 1)[tiles > 0]
        self.rows[last] = self.scan[last] = 0
        self.places = dict(zip(ids.tolist(), places.tolist(), strict=True))
        return places


def flat(tiles: Floats) -> Floats:
    """[tiles, TILE, d] as [places, d]."""
    return tiles.reshape(-1, tiles.shape[-1])


def _longer(array: NDArray[T], room: int, used: int) -> NDArray[T]:
    longer = np.empty((room, *array.shape[1:]), array.dtype)
    longer[:used] = array[:used]
    return longer
