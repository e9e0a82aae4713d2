"""The protocol and its metrics, on numbers small enough to count by hand."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from rank_svc.train.columns import DatasetError
from rank_svc.train.dataset import Ints, load
from rank_svc.train.histories import build
from rank_svc.train.metrics import Question, Scorer, Scores, gini, measure
from rank_svc.train.protocol import question
from tests.rank.train.conftest import Write, world


def _fixed(row: list[float]) -> Scorer:
    def score(users: Ints) -> Scores:
        return np.tile(np.array(row, np.float32), (len(users), 1))

    return score


def _asked(write: Write, truth: list[tuple[int, int]]) -> Question:
    columns = {"user_id": [1, 1, 2, 3], "item_id": [10, 11, 10, 12], "long_view": [True, False, True, False]}
    data = load(write(interactions=columns, items={"item_id": [13]}))
    users, items = np.array(truth, np.int64).T
    return question(data, build(data.interactions), (users, items))


def test_seen_items_are_masked_and_all_others_ranked(write: Write) -> None:
    asked = _asked(write, [(1, 12), (2, 11)])
    found = measure(asked, _fixed([9, 8, 1, 0]), [1, 2])
    assert found["recall@1"] == 1.0
    assert found["ndcg@1"] == 1.0
    assert found["coverage@1"] == 0.5


def test_what_is_right_counts_in_full_even_when_it_is_seen_or_unknown(write: Write) -> None:
    asked = _asked(write, [(1, 12), (1, 10), (1, 999)])
    found = measure(asked, _fixed([9, 8, 1, 0]), [2])
    assert found["recall@2"] == pytest.approx(1 / 3)
    assert found["ndcg@2"] == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_users_without_a_positive_or_a_history_are_not_asked(write: Write) -> None:
    asked = _asked(write, [(1, 12), (3, 10), (44, 10)])
    assert len(asked.users) == 1


def test_nobody_to_ask_is_an_error(write: Write) -> None:
    with pytest.raises(DatasetError, match="none of its users has a positive"):
        _asked(write, [(3, 10)])


def test_a_k_beyond_the_catalogue_ranks_what_there_is(write: Write) -> None:
    found = measure(_asked(write, [(2, 13)]), _fixed([0, 0, 0, 0]), [1_000_000])
    assert found["recall@1000000"] == 1.0


def test_a_k_beyond_the_catalogue_takes_no_more_memory_than_the_catalogue(write: Write) -> None:
    asked = _asked(write, [(1, 12), (2, 13), (2, 999)])
    tracemalloc.start()
    found = measure(asked, _fixed([3, 2, 1, 0]), [4, 5_000_000])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1_000_000
    assert [found[f"{name}@5000000"] for name in ("recall", "ndcg")] == [found["recall@4"], found["ndcg@4"]]


def test_users_of_several_blocks_are_measured_alike(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _asked(write, [(1, 12), (1, 13), (2, 11)])
    whole = measure(asked, _fixed([9, 8, 1, 2]), [1, 2])
    monkeypatch.setattr("rank_svc.train.metrics.CHUNK", 1)
    assert measure(asked, _fixed([9, 8, 1, 2]), [1, 2]) == whole
    assert whole["recall@2"] == 1.0 and whole["ndcg@2"] == 1.0


def test_gini_is_zero_for_equals_and_near_one_for_a_monopoly() -> None:
    assert gini(np.array([3, 3, 3])) == 0.0
    assert gini(np.array([0] * 99 + [7])) == pytest.approx(0.99)


def test_baselines_are_above_chance_where_there_is_something_to_know(write: Write) -> None:
    pytest.importorskip("scipy", reason="scipy is in the extra `train`")
    from rank_svc.train.baselines import baselines

    tables = world()
    data = load(write(**tables))
    histories = build(data.interactions)
    have = set(zip(tables["interactions"]["user_id"], tables["interactions"]["item_id"], strict=True))
    truth = np.array([(u, i) for u in range(60) for i in range(40) if (u + i) % 2 == 0 and (u, i) not in have])
    asked = question(data, histories, (truth[:, 0], truth[:, 1]))
    found = {name: measure(asked, scorer, [5]) for name, scorer in baselines(histories, data.catalogue)}
    assert set(found) == {"popularity", "recent popularity", "ItemKNN", "EASE", "iALS"}
    for name in ("ItemKNN", "EASE", "iALS"):
        assert found[name]["ndcg@5"] > 0.9
    assert found["popularity"]["ndcg@5"] < 0.8


def test_what_was_shown_only_is_masked_and_no_history(write: Write) -> None:
    columns = {"user_id": [1, 1], "item_id": [10, 11], "like": [True, False], "shown_only": [False, True]}
    data = load(write(interactions=columns, items={"item_id": [12]}))
    histories = build(data.interactions)
    assert histories.items.tolist() == [10]
    asked = question(data, histories, (np.array([1]), np.array([12])))
    assert measure(asked, _fixed([9, 8, 1]), [1])["recall@1"] == 1.0
