"""What an index does in the background: make its lists when it has grown, and measure how many of them to read.

In steps of some 50 ms each, so that searches get the threads in between. Nothing that is added, replaced or removed
meanwhile is lost or comes back: ids that were touched are taken over again before the new lists serve.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from rank_svc.retrieval.store import Floats, Hits, Ints
from rank_svc.retrieval.stores.clusters import SAMPLE, Clusters, lists_for, slices, train
from rank_svc.retrieval.stores.probing import MEASURED, Truth, View, depths_from, observe
from rank_svc.retrieval.stores.shared import Shared
from rank_svc.retrieval.stores.tiles import TILE, Tiles, flat

QUERIES = 48
"""Of the own vectors, and as many of those that were asked for last: the depths are measured with both."""
LEAST_RECALL = 0.98
"""Seen by exact searches; less, and the depths are measured anew."""
_EXACT_SEEN = 16
"""Exact searches whose mean is believed."""
CATCH_UP = 1024
"""Touched ids that are taken over at a time; writers wait for the last of them."""


class Settling:
    """`due` and `observe` are cheap and may be called from anywhere; one `steps` at a time."""

    def __init__(self, shared: Shared, exact_below: int) -> None:
        self._shared = shared
        self._exact_below = exact_below
        self._lock = threading.Lock()
        self._asked: deque[Floats] = deque(maxlen=QUERIES)
        self._asked_count = 0
        self._seen: deque[float] = deque(maxlen=_EXACT_SEEN)
        self._trained_size = 0
        self._trained_changes = 0
        self._measured_changes = 0
        self._measure_at = QUERIES
        self._given_up = 0

    def observe(self, query: Floats, k: int, hits: Hits, exact: bool) -> None:
        """Remember what is asked for, and, where the exact answer is known, how much of it would be missed."""
        view = self._shared.view()
        with self._lock:
            self._asked_count += 1
            self._asked.append(query)
        if exact and view.clusters is not None and view.depths is not None and len(hits.ids):
            self._note_recall(view, query, k, hits)

    def _note_recall(self, view: View, query: Floats, k: int, hits: Hits) -> None:
        assert view.clusters is not None and view.depths is not None
        found = [place for place in map(view.tiles.places.get, hits.ids.tolist()) if place is not None]
        promise = view.clusters.promise(view.clusters.project(query), view.depths.reach)
        probes = min(view.depths.probes_for(k), len(promise))
        least = np.partition(promise, len(promise) - probes)[len(promise) - probes]
        lists = view.tiles.list_of[np.array(found, np.int64) // TILE]
        with self._lock:
            self._seen.append(float(np.mean(promise[lists] >= least)) if found else 1.0)

    def due(self) -> bool:
        """Whether there is something to do."""
        return self._lists_due() or self._measure_due()

    def _lists_due(self) -> bool:
        n = len(self._shared.tiles.places)
        if self._shared.clusters is None:
            return n >= max(self._exact_below, 2 * self._given_up, 1)
        changed = self._shared.changes - self._trained_changes
        return changed >= max(self._trained_size, self._exact_below) or n < self._exact_below // 2

    def _measure_due(self) -> bool:
        if self._shared.depths is None:
            return False
        changed = self._shared.changes - self._measured_changes > max(len(self._shared.tiles.places) // 4, CATCH_UP)
        missed = len(self._seen) == _EXACT_SEEN and float(np.mean(self._seen)) < LEAST_RECALL
        return changed or missed or self._asked_count >= self._measure_at

    def give_up(self) -> None:
        """After a failure: try again when there are twice as many vectors, or after as many changes."""
        self._given_up = len(self._shared.tiles.places)
        self._begun()
        self._measured()

    def _begun(self) -> None:
        self._trained_size, self._trained_changes = len(self._shared.tiles.places), self._shared.changes

    def _measured(self) -> None:
        with self._lock:
            self._measured_changes = self._shared.changes
            self._measure_at = max(8 * self._asked_count, QUERIES)
            self._seen.clear()

    def steps(self) -> Iterator[bool]:
        """Do what is due; yields True where it may pause."""
        if not self._lists_due():
            view = self._shared.view()
            self._measured()
            truths = yield from self._truths(view)
            with self._shared.lock:
                if truths and self._shared.tiles is view.tiles:
                    self._shared.depths = depths_from(truths)
            return
        self._shared.follow()
        try:
            if len(self._shared.tiles.places) < self._exact_below:
                yield from self._one_list()
            else:
                yield from self._lists()
        finally:
            self._shared.unfollow()

    def _one_list(self) -> Iterator[bool]:
        """Back to comparing all."""
        ids, _ = self._snapshot()
        tiles = Tiles(self._shared.tiles.rows.shape[2], 1, tiles=len(ids) // TILE + 2)
        self._shared.touch(ids.tolist())
        yield from self._catch_up(tiles, None, [])

    def _lists(self) -> Iterator[bool]:
        ids, places = self._snapshot()
        self._begun()
        lists = lists_for(len(ids))
        made = yield from train(self._sample(places, lists), lists, seed=len(ids))
        at = np.empty(len(ids), np.int64)
        for start, stop in slices(len(ids), lists):
            at[start:stop] = made.nearest(made.project(self._copy(ids[start:stop], places[start:stop])))
            yield True
        width = None if made.projection is None else made.projection.shape[1]
        room = int((-(-np.bincount(at, minlength=lists) // TILE)).sum())
        tiles = Tiles(self._shared.tiles.rows.shape[2], lists, width, room + room // 8 + CATCH_UP)
        target = tiles.lay_out(ids, at)
        for start in range(0, len(ids), 16 * CATCH_UP):
            stop = start + 16 * CATCH_UP
            rows = self._copy(ids[start:stop], places[start:stop])
            flat(tiles.rows)[target[start:stop]] = rows
            if tiles.projected:
                flat(tiles.scan)[target[start:stop]] = made.project(rows)
            yield True
        truths = yield from self._truths(_view_of(tiles, made))
        self._measured()
        yield from self._catch_up(tiles, made, truths)

    def _snapshot(self) -> tuple[Ints, Ints]:
        with self._shared.lock:
            tiles = self._shared.tiles
            ids = tiles.ids[: tiles.used].reshape(-1)
            places = np.flatnonzero(ids)
            return ids[places], places

    def _sample(self, places: Ints, lists: int) -> Floats:
        random = np.random.default_rng(len(places))
        some = np.sort(random.permutation(places)[: SAMPLE * lists])
        with self._shared.lock:
            return np.asarray(flat(self._shared.tiles.rows)[some])

    def _copy(self, ids: Ints, places: Ints) -> Floats:
        """What is at these places; where it is no longer what was there, the ids are looked at again later."""
        with self._shared.lock:
            tiles = self._shared.tiles
            rows, now = np.asarray(flat(tiles.rows)[places]), tiles.ids.reshape(-1)[places]
        changed = ids[now != ids].tolist()
        if changed:
            self._shared.touch(changed)
        return rows

    def _truths(self, view: View) -> Generator[bool, None, list[list[Truth]]]:
        """Of own vectors, and of what was asked for: neither need lie as the other does."""
        places = np.flatnonzero(view.ids[: view.used].reshape(-1))
        own = np.random.default_rng(len(places)).permutation(places)[:QUERIES]
        with self._lock:
            asked = list(self._asked)
        groups: list[list[Truth]] = []
        for queries in (list(flat(view.rows)[own]), asked):
            groups.append([])
            for query in queries if len(own) else ():
                groups[-1].append(observe(view, query, MEASURED[-1]))
                yield True
        return [group for group in groups if group]

    def _catch_up(self, tiles: Tiles, clusters: Clusters | None, truths: list[list[Truth]]) -> Iterator[bool]:
        depths = depths_from(truths) if truths else None
        while True:
            with self._shared.writing:
                gone, ids, rows, last = self._shared.touched(CATCH_UP)
                _take_over(tiles, clusters, gone, ids, rows)
                if last:
                    self._shared.serve(tiles, clusters, depths)
                    return
            yield True


def _view_of(tiles: Tiles, clusters: Clusters) -> View:
    return View(tiles, tiles.rows, tiles.scan, tiles.ids, tiles.used, tiles.writes, clusters, None)


def _take_over(tiles: Tiles, clusters: Clusters | None, gone: Sequence[int], ids: Sequence[int], rows: Floats) -> None:
    for i in gone:
        tiles.drop(i)
    if ids:
        scan = rows if clusters is None else clusters.project(rows)
        lists = [0] * len(ids) if clusters is None else clusters.nearest(scan).tolist()
        tiles.reserve(len(ids), threading.Lock())
        tiles.put(ids, rows, scan, lists)
