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
URLS = {"compared": "memory://", "clustered": "memory://?exact_below=10"}


@pytest.fixture(params=list(URLS.values()), ids=list(URLS))
async def index(request: pytest.FixtureRequest) -> AsyncIterator[VectorIndex]:
    threads = anyio.CapacityLimiter(2)
    index: VectorIndex = await resolve("url", request.param, SCHEMES).open(request.param, D, threads)
    yield index
    await index.close()


def unit(n: int, seed: int = 0) -> Floats:
    """Vectors of length 1 around 40 directions that are the same for every seed."""
    centres, random = np.random.default_rng(9).standard_normal((40, D)), np.random.default_rng(seed)
    made = centres[random.integers(0, 40, n)] + 0.3 * random.standard_normal((n, D))
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


async def fill(index: VectorIndex, vectors: Floats, first: int = 1) -> None:
    """Add them with ids that count from `first`, and wait until the index has settled on them."""
    await index.add(range(first, first + len(vectors)), vectors)
    await index.settled()


async def test_the_nearest_comes_first_with_its_inner_product(index: VectorIndex) -> None:
    vectors = unit(300)
    await fill(index, vectors)

    (hits,) = await index.search(vectors[41:42], 5)

    assert hits.ids[0] == 42
    assert hits.scores == pytest.approx(np.sort(vectors @ vectors[41])[::-1][:5], abs=1e-5)
    assert index.size == 300


async def test_it_finds_nearly_all_of_what_comparing_with_all_finds(index: VectorIndex) -> None:
    await fill(index, unit(500))
    asked = unit(10, seed=1)

    exact = await index.search(asked, 50, exact=True)
    found = await index.search(asked, 50)

    shares = [len(np.intersect1d(a.ids, b.ids)) / 50 for a, b in zip(exact, found, strict=True)]
    assert np.mean(shares) > 0.95


@pytest.mark.parametrize(("k", "count"), [(0, 0), (-1, 0), (7, 7), (1_000_000, 60)])
async def test_k_is_bounded_by_what_there_is(index: VectorIndex, k: int, count: int) -> None:
    await fill(index, unit(60))

    (hits,) = await index.search(unit(1, seed=2), k)

    assert len(hits.ids) == len(hits.scores) == count


async def test_an_empty_index_answers_nothing_for_each_vector(index: VectorIndex) -> None:
    assert [len(hits.ids) for hits in await index.search(unit(3), 5)] == [0, 0, 0]
    assert list(await index.search(unit(0), 5)) == []


async def test_excluded_ids_do_not_count_towards_k(index: VectorIndex) -> None:
    vectors = unit(200)
    await fill(index, vectors)
    near = (await index.search(vectors[:1], 150))[0].ids.tolist()

    (hits,) = await index.search(vectors[:1], 20, exclude=set(near) | {10**12})

    assert len(hits.ids) == 20 and not set(hits.ids.tolist()) & set(near)


async def test_excluding_everything_leaves_nothing(index: VectorIndex) -> None:
    await fill(index, unit(30))

    assert len((await index.search(unit(1), 5, exclude=set(range(1, 31))))[0].ids) == 0


async def test_a_removed_vector_is_never_found_again_and_others_stay(index: VectorIndex) -> None:
    vectors = unit(100)
    await fill(index, vectors)

    await index.remove([5, 100, 5, 77777])
    (hits,) = await index.search(vectors[4:5], 100)

    assert sorted(hits.ids.tolist()) == sorted(set(range(1, 101)) - {5, 100})
    assert index.size == 98


async def test_adding_an_id_again_replaces_its_vector(index: VectorIndex) -> None:
    vectors = unit(40)
    await fill(index, vectors)

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


async def test_the_greatest_ids_are_ids(index: VectorIndex) -> None:
    vectors = unit(400)
    await fill(index, vectors, first=2**63 - 400)

    (hits,) = await index.search(vectors[-1:], 1)
    await index.remove([2**63 - 1])
    (rest,) = await index.search(vectors[-1:], 400)

    assert hits.ids.tolist() == [2**63 - 1]
    assert len(rest.ids) == 399 and 2**63 - 1 not in rest.ids.tolist()


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


@pytest.mark.parametrize("shape", [(1, D + 1), (1, D - 1), (D,), (1, 1, D)])
async def test_asking_with_other_dimensions_is_refused(index: VectorIndex, shape: tuple[int, ...]) -> None:
    await fill(index, unit(60))

    with pytest.raises(ValueError, match="vectors: want"):
        await index.search(np.ones(shape, np.float32), 5)


async def test_each_vector_asked_gets_its_own_answer(index: VectorIndex) -> None:
    vectors = unit(2000)
    await fill(index, vectors)

    found = await index.search(vectors[[3, 900, 1999]], 1)

    assert [hits.ids.tolist() for hits in found] == [[4], [901], [2000]]


@pytest.mark.parametrize("k", [1, 40, 700])
async def test_searching_exactly_finds_what_comparing_all_by_hand_finds(index: VectorIndex, k: int) -> None:
    # Whole numbers: their products are exact, and many are equal.
    vectors, asked = np.round(unit(2000) * 8), np.round(unit(5, seed=1) * 8)
    await fill(index, vectors)

    found = await index.search(asked, k, exact=True)

    ids = np.arange(1, 2001)
    by_hand = [ids[np.lexsort((-ids, -scores))][:k].tolist() for scores in asked @ vectors.T]
    assert [hits.ids.tolist() for hits in found] == by_hand


async def test_vectors_of_unlike_length_are_compared_by_inner_product(index: VectorIndex) -> None:
    lengths = np.exp(np.random.default_rng(3).standard_normal((2000, 1)))
    vectors, asked = np.asarray(unit(2000) * lengths, np.float32), unit(20, seed=1)
    await fill(index, vectors)

    found = await index.search(asked, 50)

    by_hand = np.argsort(-(asked @ vectors.T), axis=1)[:, :50] + 1
    shares = [len(np.intersect1d(hits.ids, near)) / 50 for hits, near in zip(found, by_hand, strict=True)]
    assert np.mean(shares) > 0.95


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0], ids=["zero", "equal", "against"])
async def test_vectors_that_are_all_equal_come_by_greater_id(index: VectorIndex, value: float) -> None:
    await fill(index, np.full((700, D), value, np.float32))

    (exact,) = await index.search(np.ones((1, D), np.float32), 20, exact=True)
    (found,) = await index.search(np.ones((1, D), np.float32), 20)

    assert exact.ids.tolist() == found.ids.tolist() == list(range(700, 680, -1))


async def test_asking_with_a_zero_vector_answers_as_many_as_wanted(index: VectorIndex) -> None:
    await fill(index, unit(700))

    (exact,) = await index.search(np.zeros((1, D), np.float32), 20, exact=True)
    (found,) = await index.search(np.zeros((1, D), np.float32), 20)

    assert exact.ids.tolist() == list(range(700, 680, -1))
    assert len(set(found.ids.tolist())) == 20 and not found.scores.any()


async def test_the_same_vector_many_times_is_as_many_answers(index: VectorIndex) -> None:
    vectors = unit(1000)
    await fill(index, vectors)
    await fill(index, np.repeat(vectors[:1], 300, axis=0), first=5001)

    (hits,) = await index.search(vectors[:1], 301)

    assert set(hits.ids.tolist()) == {1, *range(5001, 5301)}


async def test_an_id_that_comes_twice_in_one_call_keeps_its_last_vector(index: VectorIndex) -> None:
    vectors = unit(50)
    await fill(index, vectors)

    await index.add([7, 60, 7], vectors[[1, 2, 3]])
    found, known = index.vectors([7, 60])

    assert known.all() and index.size == 51
    assert found == pytest.approx(vectors[[3, 2]])


async def test_removing_all_leaves_an_index_that_works(index: VectorIndex) -> None:
    await fill(index, unit(300))

    await index.remove(range(1, 301))
    await index.settled()
    assert index.size == 0 and not len((await index.search(unit(1), 5))[0].ids)
    await fill(index, unit(300), first=1001)

    assert len((await index.search(unit(1), 500))[0].ids) == 300


async def test_what_is_removed_and_added_in_turn_is_what_there_is(index: VectorIndex) -> None:
    vectors = unit(3000)
    await fill(index, vectors[:1000])
    for start in range(0, 2000, 250):
        await index.remove(range(start + 1, start + 251))
        await index.add(range(start + 1001, start + 1251), vectors[start + 1000 : start + 1250])
    await index.settled()

    (hits,) = await index.search(vectors[:1], 5000)

    assert sorted(hits.ids.tolist()) == list(range(2001, 3001))


async def test_searching_while_adding_and_removing_answers_only_what_is_there(index: VectorIndex) -> None:
    vectors = unit(600)
    await index.add(range(1, 201), vectors[:200])
    answers = []

    async def ask() -> None:
        for row in range(30):
            answers.append((await index.search(vectors[row : row + 1], 20))[0])

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(index.add, range(201, 601), vectors[200:])
        group.start_soon(index.remove, range(150, 200))

    assert all(len(hits.ids) == 20 and np.isfinite(hits.scores).all() for hits in answers)
    assert index.size == 550


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "near"])
async def test_among_threads_no_answer_holds_what_was_removed_before_it_or_a_score_of_another(
    index: VectorIndex, exact: bool
) -> None:
    vectors = unit(4000)
    await fill(index, vectors[:1500])
    gone: set[int] = set()
    stays = set(range(1, 101))
    done = anyio.Event()
    wrong: list[str] = []

    async def change() -> None:
        for start in range(0, 2500, 100):
            await index.add(range(start + 1501, start + 1601), vectors[start + 1500 : start + 1600])
            some = range(start + 101, start + 201)
            await index.remove(some)
            gone.update(some)
        done.set()

    async def ask(row: int) -> None:
        while not done.is_set():
            before, k = set(gone), 4000 if exact else 50
            (hits,) = await index.search(vectors[row : row + 1], k, exact=exact)
            ids = hits.ids.tolist()
            if before & set(ids) or len(set(ids)) < len(ids):
                wrong.append(f"removed or twice: {sorted(before & set(ids))}")
            if exact and not stays <= set(ids):
                wrong.append(f"missed: {sorted(stays - set(ids))}")
            if not np.allclose(hits.scores, vectors[hits.ids - 1] @ vectors[row], atol=1e-4):
                wrong.append("a score of another vector")

    async with anyio.create_task_group() as group:
        group.start_soon(change)
        for row in range(3):
            group.start_soon(ask, row)
    await index.settled()

    assert not wrong
    assert index.size == 1500
    assert [len(hits.ids) for hits in await index.search(vectors[:2], 5000)] == [1500, 1500]


def test_an_unknown_scheme_names_the_valid_ones() -> None:
    with pytest.raises(UnknownScheme, match=r"REELGRAPH_VECTORS_URL=milvus.*valid: memory"):
        resolve("REELGRAPH_VECTORS_URL", "milvus://h", SCHEMES)
