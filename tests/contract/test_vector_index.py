"""The contract of vector search, for every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import numpy as np
import pytest

from rank_svc.retrieval.store import Floats, VectorIndex
from rank_svc.retrieval.stores import SCHEMES
from svc_kit.backends import UnknownScheme, resolve

D = 16
URLS = {"compared": "memory://", "graph": "memory://?exact_below=10"}


@pytest.fixture(params=list(URLS.values()), ids=list(URLS))
async def index(request: pytest.FixtureRequest) -> AsyncIterator[VectorIndex]:
    threads = anyio.CapacityLimiter(2)
    index: VectorIndex = await resolve("url", request.param, SCHEMES).open(request.param, D, threads)
    yield index
    await index.close()


def unit(n: int, seed: int = 0) -> Floats:
    made = np.random.default_rng(seed).standard_normal((n, D)).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


async def test_the_nearest_comes_first_with_its_inner_product(index: VectorIndex) -> None:
    vectors = unit(300)
    await index.add(list(range(1, 301)), vectors)

    (hits,) = await index.search(vectors[41:42], 5)

    assert hits.ids[0] == 42
    assert hits.scores == pytest.approx(np.sort(vectors @ vectors[41])[::-1][:5], abs=1e-5)
    assert index.size == 300


async def test_it_finds_nearly_all_of_what_comparing_with_all_finds(index: VectorIndex) -> None:
    await index.add(list(range(1, 501)), unit(500))
    asked = unit(10, seed=1)

    exact = await index.search(asked, 50, exact=True)
    found = await index.search(asked, 50)

    shares = [len(np.intersect1d(a.ids, b.ids)) / 50 for a, b in zip(exact, found, strict=True)]
    assert np.mean(shares) > 0.95


@pytest.mark.parametrize(("k", "count"), [(0, 0), (-1, 0), (7, 7), (1_000_000, 60)])
async def test_k_is_bounded_by_what_there_is(index: VectorIndex, k: int, count: int) -> None:
    await index.add(list(range(1, 61)), unit(60))

    (hits,) = await index.search(unit(1, seed=2), k)

    assert len(hits.ids) == len(hits.scores) == count


async def test_an_empty_index_answers_nothing_for_each_vector(index: VectorIndex) -> None:
    assert [len(hits.ids) for hits in await index.search(unit(3), 5)] == [0, 0, 0]
    assert list(await index.search(unit(0), 5)) == []


async def test_excluded_ids_do_not_count_towards_k(index: VectorIndex) -> None:
    vectors = unit(200)
    await index.add(list(range(1, 201)), vectors)
    near = (await index.search(vectors[:1], 150))[0].ids.tolist()

    (hits,) = await index.search(vectors[:1], 20, exclude=set(near) | {10**12})

    assert len(hits.ids) == 20 and not set(hits.ids.tolist()) & set(near)


async def test_excluding_everything_leaves_nothing(index: VectorIndex) -> None:
    await index.add(list(range(1, 31)), unit(30))

    assert len((await index.search(unit(1), 5, exclude=set(range(1, 31))))[0].ids) == 0


async def test_a_removed_vector_is_never_found_again_and_others_stay(index: VectorIndex) -> None:
    vectors = unit(100)
    await index.add(list(range(1, 101)), vectors)

    await index.remove([5, 100, 5, 77777])
    (hits,) = await index.search(vectors[4:5], 100)

    assert sorted(hits.ids.tolist()) == sorted(set(range(1, 101)) - {5, 100})
    assert index.size == 98


async def test_adding_an_id_again_replaces_its_vector(index: VectorIndex) -> None:
    vectors = unit(40)
    await index.add(list(range(1, 41)), vectors)

    await index.add([1], vectors[1:2] * 3)
    found, known = index.vectors([1, 999])

    assert index.size == 40
    assert known.tolist() == [True, False]
    assert found[0] == pytest.approx(vectors[1] * 3)
    assert not found[1].any()
    assert (await index.search(vectors[1:2], 1))[0].ids.tolist() == [1]


async def test_equal_scores_come_greater_id_first(index: VectorIndex) -> None:
    await index.add([3, 1, 2], np.repeat(unit(1), 3, axis=0))

    assert (await index.search(unit(1), 3))[0].ids.tolist() == [3, 2, 1]


async def test_the_greatest_id_is_an_id(index: VectorIndex) -> None:
    await index.add([2**63 - 1], unit(1))

    assert (await index.search(unit(1), 1))[0].ids.tolist() == [2**63 - 1]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
async def test_vectors_that_are_not_finite_are_refused_and_none_is_added(index: VectorIndex, wrong: float) -> None:
    vectors = unit(3)
    vectors[1, 2] = wrong

    with pytest.raises(ValueError, match="not finite"):
        await index.add([1, 2, 3], vectors)
    with pytest.raises(ValueError, match="not finite"):
        await index.search(vectors, 1)
    assert index.size == 0


@pytest.mark.parametrize(("ids", "shape"), [([1], (1, D + 1)), ([1, 2], (1, D)), ([0], (1, D)), ([-1], (1, D))])
async def test_wrong_shapes_and_ids_are_refused(index: VectorIndex, ids: list[int], shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        await index.add(ids, np.ones(shape, np.float32))

    assert index.size == 0


async def test_searching_while_adding_and_removing_answers_only_what_is_there(index: VectorIndex) -> None:
    vectors = unit(600)
    await index.add(list(range(1, 201)), vectors[:200])
    answers = []

    async def ask() -> None:
        for row in range(30):
            answers.append((await index.search(vectors[row : row + 1], 20))[0])

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(index.add, list(range(201, 601)), vectors[200:])
        group.start_soon(index.remove, list(range(150, 200)))

    assert all(len(hits.ids) == 20 and np.isfinite(hits.scores).all() for hits in answers)
    assert index.size == 550


def test_an_unknown_scheme_names_the_valid_ones() -> None:
    with pytest.raises(UnknownScheme, match=r"REELGRAPH_VECTORS_URL=milvus.*valid: memory"):
        resolve("REELGRAPH_VECTORS_URL", "milvus://h", SCHEMES)
