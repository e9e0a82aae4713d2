"""How the index in memory grows: lists are made in the background, and searches read some of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import numpy as np
import pytest

from rank_svc.retrieval.store import Floats, Hits
from rank_svc.retrieval.stores import memory, settling
from rank_svc.retrieval.stores.memory import MemoryIndex
from rank_svc.retrieval.stores.probing import View

BELOW = 2000


def around(n: int, d: int, seed: int, centres: int = 60, apart: int = 9) -> Floats:
    """Vectors of length 1 around directions that depend on `apart` alone."""
    middles, random = np.random.default_rng(apart).standard_normal((centres, d)), np.random.default_rng(seed)
    made = middles[random.integers(0, centres, n)] + 0.4 * random.standard_normal((n, d))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def isotropic(n: int, d: int, seed: int) -> Floats:
    made = np.random.default_rng(seed).standard_normal((n, d))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def steep(n: int, d: int, seed: int) -> Floats:
    """As trained vectors are: most of their length in few dimensions, one of them nearly the same for all."""
    made = np.random.default_rng(seed).standard_normal((n, d)) / np.arange(1, d + 1) ** 0.9
    return np.asarray(np.concatenate([made[:, :-1], 1 + 0.1 * made[:, -1:]], axis=1), np.float32)


class Reading(MemoryIndex):
    """Tells which searches compared with all."""

    compared = 0

    @property
    def lists(self) -> int:
        return len(self._shared.tiles.sizes)

    @property
    def projected(self) -> bool:
        return self._shared.tiles.projected


@pytest.fixture
async def index(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reading]:
    index = Reading(getattr(request, "param", 16), anyio.CapacityLimiter(2), exact_below=BELOW)
    compare = View.compare_all

    def counted(*arguments: Any) -> Any:
        index.compared += 1
        return compare(*arguments)

    monkeypatch.setattr(View, "compare_all", counted)
    yield index
    await index.close()


def recall(found: list[Hits], exact: list[Hits]) -> float:
    return float(np.mean([len(np.intersect1d(a.ids, b.ids)) / len(b.ids) for a, b in zip(found, exact, strict=True)]))


async def measured(index: Reading, asked: Floats, k: int, exclude: set[int] | None = None) -> tuple[float, int]:
    """Recall against exact, and how many of the searches compared all."""
    exact = list(await index.search(asked, k, exact=True, exclude=exclude or set()))
    await index.settled()
    before = index.compared
    found = list(await index.search(asked, k, exclude=exclude or set()))
    return recall(found, exact), index.compared - before


@pytest.mark.parametrize("index", [16, 64, 200], indirect=True)
async def test_beyond_the_threshold_few_lists_are_read_and_little_is_missed(index: Reading) -> None:
    d = index.dimensions
    await index.add(range(1, 8001), around(8000, d, 1))
    await index.settled()

    share, compared = await measured(index, around(40, d, 2), 50)

    assert index.lists > 50 and index.projected == (d == 200)
    assert share > 0.98 and compared == 0


@pytest.mark.parametrize("index", [385], indirect=True)
async def test_vectors_of_many_dimensions_are_read_by_a_projection_and_compared_by_themselves(index: Reading) -> None:
    vectors = steep(6000, 385, 1)
    await index.add(range(1, 6001), vectors)
    await index.settled()

    asked = vectors[:40] + 0.1 * steep(40, 385, 2)
    share, _ = await measured(index, asked, 50)
    (hits,) = await index.search(asked[:1], 50)

    assert index.projected and share > 0.98
    assert hits.scores == pytest.approx(vectors[hits.ids - 1] @ asked[0], rel=1e-5)


@pytest.mark.parametrize("make", [isotropic, steep])
async def test_where_lists_do_not_help_all_are_compared_rather_than_much_missed(index: Reading, make: Any) -> None:
    await index.add(range(1, 6001), make(6000, 16, 1))
    await index.settled()

    share, _ = await measured(index, isotropic(40, 16, 2), 100)

    assert share > 0.98


async def test_lists_are_made_anew_as_the_index_grows_and_one_serves_again_when_it_shrank(index: Reading) -> None:
    await index.add(range(1, 1001), around(1000, 16, 1))
    await index.settled()
    few = index.lists
    await index.add(range(1001, 2501), around(1500, 16, 2))
    await index.settled()
    some = index.lists
    await index.add(range(2501, 10001), around(7500, 16, 3))
    await index.settled()
    many = index.lists
    await index.remove(range(1, 9500))
    await index.settled()

    assert few == 1 < some < many and index.lists == 1
    assert index.size == 501 and len((await index.search(around(1, 16, 4), 1000))[0].ids) == 501


async def test_vectors_of_another_kind_than_the_lists_were_made_of_are_found(index: Reading) -> None:
    await index.add(range(1, 4001), around(4000, 16, 1))
    await index.settled()
    await index.add(range(4001, 5501), around(1500, 16, 2, apart=77))
    await index.settled()

    share, _ = await measured(index, around(40, 16, 3, apart=77), 50)

    assert share > 0.98


async def test_recall_that_exact_searches_find_too_low_makes_it_read_more(index: Reading) -> None:
    await index.add(range(1, 8001), around(8000, 16, 1))
    await index.settled()
    shared, asked = index._shared, around(40, 16, 2)
    assert shared.depths is not None
    shallow = type(shared.depths)(0.0, (10, 100, 500, 2000), (1, 1, 1, 1), (10, 100, 500, 2000))
    shared.depths = shallow

    await index.search(asked[:20], 100, exact=True)
    await index.settled()

    assert shared.depths is not shallow
    assert (await measured(index, asked, 100))[0] > 0.98


async def test_excluding_what_is_nearest_leaves_the_next_nearest(index: Reading) -> None:
    await index.add(range(1, 8001), around(8000, 16, 1))
    await index.settled()
    asked = around(5, 16, 2)
    for query in asked:
        near = set((await index.search(query[None], 300, exact=True))[0].ids.tolist())
        share, _ = await measured(index, query[None], 50, exclude=near)
        assert share > 0.9

    (hits,) = await index.search(asked[:1], 50, exclude=set(range(1, 7990)))
    assert sorted(hits.ids.tolist()) == list(range(7990, 8001))


async def test_what_changes_while_lists_are_made_is_as_it_should_be_afterwards(index: Reading) -> None:
    """Each step of the making is followed by removals, replacements and additions."""
    vectors = around(12000, 16, 1)
    index._shared.add(range(1, 4001), vectors[:4000])
    expected = {i: vectors[i - 1] for i in range(1, 4001)}
    random = np.random.default_rng(0)

    fresh = 4001
    for _ in index._settling.steps():
        if fresh > 7000:
            continue
        gone = random.choice(list(expected), 20, replace=False).tolist()
        index._shared.remove(gone)
        for i in gone:
            del expected[i]
        changed = random.choice(list(expected), 20, replace=False).tolist()
        ids = [*changed, *range(fresh, fresh + 30)]
        rows = around(50, 16, fresh)
        index._shared.add(ids, rows)
        expected |= dict(zip(ids, rows, strict=True))
        fresh += 30

    assert index.lists > 1 and fresh > 4100
    assert index.size == len(expected)
    found, known = index.vectors(list(expected))
    assert known.all() and (found == np.stack(list(expected.values()))).all()
    for exact in (True, False):
        (hits,) = await index.search(vectors[:1], 10**6, exact=exact)
        assert set(hits.ids.tolist()) == set(expected)
        assert np.allclose(hits.scores, [expected[i] @ vectors[0] for i in hits.ids.tolist()], atol=1e-5)


async def test_a_search_that_new_lists_overtake_answers_from_them(index: Reading, monkeypatch: Any) -> None:
    vectors = around(4000, 16, 1)
    index._shared.add(range(1, 4001), vectors)
    compare = View.compare_all

    def slow(*arguments: Any) -> Any:
        found = compare(*arguments)
        if index.lists == 1:
            for _ in index._settling.steps():
                pass
            index._shared.remove([1, 2, 3])
        return found

    monkeypatch.setattr(View, "compare_all", slow)
    hits = index._nearest(vectors[0], 4000, frozenset(), True)

    assert index.lists > 1
    assert sorted(hits.ids.tolist()) == list(range(4, 4001))


async def test_lists_that_can_not_be_made_leave_all_compared_and_are_tried_when_it_has_doubled(
    index: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    def fail(*_: Any, **__: Any) -> Any:
        nonlocal tried
        tried += 1
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(settling, "train", fail)
        await index.add(range(1, 3001), around(3000, 16, 1))
        await index.settled()
        await index.add(range(3001, 5001), around(2000, 16, 2))
        await index.settled()
    assert tried == 1 and index.lists == 1
    assert len((await index.search(around(1, 16, 3), 10**6))[0].ids) == 5000

    await index.add(range(5001, 7001), around(2000, 16, 4))
    await index.settled()

    assert index.lists > 1 and index.size == 7000


async def test_closing_stops_the_making_of_lists(index: Reading) -> None:
    await index.add(range(1, 6001), around(6000, 16, 1))

    await index.close()
    await index.close()

    assert index.size == 0 and index.lists == 1
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "vectors.settle"]


async def test_it_is_opened_with_the_threshold_of_its_address() -> None:
    index = await memory.open("memory://?exact_below=50", 8, anyio.CapacityLimiter(1))
    await index.add(range(1, 101), around(100, 8, 1))
    await index.settled()

    assert len(index._shared.tiles.sizes) > 1
    await index.close()
