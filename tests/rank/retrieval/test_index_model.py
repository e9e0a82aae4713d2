"""The vector index against a dictionary and products by hand, whatever is added and removed in whatever order."""

from __future__ import annotations

import asyncio

import anyio
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rank_svc.retrieval.store import Floats, Hits
from rank_svc.retrieval.stores.memory import MemoryIndex

D = 4
IDS = st.one_of(st.integers(1, 60), st.integers(2**63 - 5, 2**63 - 1))
VECTORS = st.tuples(*[st.integers(-4, 4)] * D)
"""Whole numbers: their products are exact, and often equal."""


class Model(RuleBasedStateMachine):
    """The index has lists of its own from 12 vectors on, and makes them anew as it grows."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.Runner()
        self.known: dict[int, tuple[int, ...]] = {}
        self.index = self.loop.run(self._open())

    async def _open(self) -> MemoryIndex:
        return MemoryIndex(D, anyio.CapacityLimiter(2), exact_below=12)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run(self.index.close())
            self.loop.close()

    @rule(pairs=st.lists(st.tuples(IDS, VECTORS), max_size=40))
    def add(self, pairs: list[tuple[int, tuple[int, ...]]]) -> None:
        vectors = np.array([vector for _, vector in pairs], np.float32).reshape(-1, D)
        self.loop.run(self.index.add([i for i, _ in pairs], vectors))
        self.known |= dict(pairs)

    @rule(first=st.integers(100, 5000), count=st.integers(50, 400), seed=st.integers(0, 99))
    def add_many(self, first: int, count: int, seed: int) -> None:
        vectors = np.random.default_rng(seed).integers(-4, 5, (count, D))
        ids = range(first, first + count)
        self.loop.run(self.index.add(ids, vectors.astype(np.float32)))
        self.known |= {i: tuple(vector) for i, vector in zip(ids, vectors.tolist(), strict=True)}

    @rule(ids=st.lists(IDS, max_size=30))
    def remove(self, ids: list[int]) -> None:
        self.loop.run(self.index.remove(ids))
        for i in ids:
            self.known.pop(i, None)

    @rule(share=st.floats(0, 1))
    def remove_many(self, share: float) -> None:
        self.remove(list(self.known)[: int(len(self.known) * share)])

    @rule()
    def settle(self) -> None:
        self.loop.run(self.index.settled())

    @rule(query=VECTORS, k=st.sampled_from([0, 1, 3, 30, 10**6]), barred=st.sets(IDS, max_size=20))
    def search_exactly(self, query: tuple[int, ...], k: int, barred: set[int]) -> None:
        (hits,) = self._ask(query, k, barred, exact=True)

        there = [i for i in self.known if i not in barred]
        best = sorted(there, key=lambda i: (-self._score(i, query), -i))[:k]
        assert hits.ids.tolist() == best
        self._scores_are_right(hits, query)

    @rule(query=VECTORS, k=st.sampled_from([1, 3, 30, 10**6]), barred=st.sets(IDS, max_size=20))
    def search(self, query: tuple[int, ...], k: int, barred: set[int]) -> None:
        (hits,) = self._ask(query, k, barred, exact=False)

        ids = hits.ids.tolist()
        there = [i for i in self.known if i not in barred]
        assert set(ids) <= set(there)
        assert len(ids) == len(set(ids)) == min(k, len(there))
        assert ids == sorted(ids, key=lambda i: (-self._score(i, query), -i))
        self._scores_are_right(hits, query)

    @invariant()
    def it_holds_what_was_added(self) -> None:
        if not hasattr(self, "known"):
            return
        assert self.index.size == len(self.known)
        found, known = self.index.vectors([*self.known, 99_999])
        assert known.tolist() == [True] * len(self.known) + [False]
        assert found[:-1].tolist() == [list(vector) for vector in self.known.values()]

    def _ask(self, query: tuple[int, ...], k: int, barred: set[int], *, exact: bool) -> list[Hits]:
        vectors: Floats = np.array([query], np.float32)
        return list(self.loop.run(self.index.search(vectors, k, exclude=barred, exact=exact)))

    def _score(self, i: int, query: tuple[int, ...]) -> int:
        return sum(a * b for a, b in zip(self.known[i], query, strict=True))

    def _scores_are_right(self, hits: Hits, query: tuple[int, ...]) -> None:
        assert hits.scores.tolist() == [self._score(i, query) for i in hits.ids.tolist()]


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
