"""Parts of training that can be held against an exact answer."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is in the extra `train`")
pytest.importorskip("scipy", reason="scipy is in the extra `train`")
pytest.importorskip("lightgbm", reason="lightgbm is in the extra `train`")

import onnxruntime as ort
import torch
from onnx import TensorProto, helper

from rank_svc.scorers.store import MAX_TAGS
from rank_svc.train.around import Around
from rank_svc.train.baselines import ease, positives
from rank_svc.train.batches import keep_chances, material, negative_chances
from rank_svc.train.cold import fit_content, from_others
from rank_svc.train.dataset import load
from rank_svc.train.gbdt import fit_trees
from rank_svc.train.histories import build
from rank_svc.train.impressions import replay
from rank_svc.train.judged import auc, group_auc, order_auc
from rank_svc.train.linear import _matrices, fit_linear
from rank_svc.train.options import TowerOptions
from rank_svc.train.rank_heads import HEADS, calibrate
from rank_svc.train.served import Content, content
from tests.rank.train.conftest import Write, impressions, world


def test_trees_answer_the_same_as_one_onnx_node() -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((1500, 6)).astype(np.float32)
    rows[:, 1] = np.round(rows[:, 1], 1)
    labels = {name: rows[:, 0] + rows[:, 1] + random.standard_normal(1500) > 0 for name in HEADS[:-1]}
    labels["share"] = np.zeros(1500, np.bool_)
    trees = fit_trees(rows, labels, random.random(1500).astype(np.float32), np.arange(1500) > 1200)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", len(HEADS)])]
    graph = helper.make_graph([trees.node("x", "y")], "trees", inputs, outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    answer = ort.InferenceSession(model.SerializeToString()).run(None, {"x": rows})[0]
    np.testing.assert_allclose(answer, trees.logits(rows), atol=1e-5)


def test_the_linear_part_of_full_rank_is_the_closed_form(write: Write) -> None:
    data = load(write(**world()))
    options = TowerOptions(linear=40)
    source = material(build(data.interactions), data.catalogue, options)
    inputs, targets = (np.asarray(m.todense(), np.float64) for m in _matrices(source, options))
    inverse = np.linalg.inv(inputs.T @ inputs + 20 * np.eye(40))
    exact = inverse @ inputs.T @ targets
    exact -= inverse * (np.diag(exact) / np.diag(inverse))
    linear = fit_linear(source, options)
    found = linear.left[1:] @ linear.right[1:].T
    scale = (found * exact).sum() / (exact * exact).sum()
    np.testing.assert_allclose(found, exact * scale, atol=1e-3 * np.abs(found).max())
    assert np.abs(np.diag(found)).max() < 1e-3 * np.abs(found).max()


def test_ease_predicts_no_item_from_itself(write: Write) -> None:
    data = load(write(**world()))
    weights = ease(positives(build(data.interactions), data.catalogue), ridge=5)
    assert not np.diag(weights).any()


def test_chances_add_up_to_what_was_asked_for(write: Write) -> None:
    data = load(write(**world()))
    source = material(build(data.interactions), data.catalogue, TowerOptions())
    assert negative_chances(source, TowerOptions(negatives=10)).sum() == pytest.approx(10, rel=1e-3)
    assert keep_chances(source, 0.3)[source.target].mean() == pytest.approx(0.3, rel=1e-3)


def test_features_of_an_impression_know_only_what_came_before(write: Write) -> None:
    shown = impressions()
    whole = load(write(**world(), impressions=shown))
    known = content(whole.catalogue, whole.items)
    all_rows, _ = replay(whole, build(whole.interactions), known)
    half = {name: column[:450] for name, column in shown.items()}
    part = load(write(**world(), impressions=half))
    some_rows, _ = replay(part, build(part.interactions), known)
    np.testing.assert_array_equal(all_rows.features[: len(some_rows)], some_rows.features)


def test_auc_counts_ties_half_and_groups_by_user() -> None:
    labels, scores = np.array([True, False, True, False]), np.array([2, 1, 1, 1], np.float32)
    assert auc(labels, scores) == 0.75
    assert auc(np.array([True]), scores[:1]) is None
    assert group_auc(np.array([1, 1, 2, 2]), labels, scores) == 0.75
    assert order_auc(np.array([1, 2, 3]), np.array([1, 2, 3], np.float32), pairs=100) == 1.0


def test_calibration_moves_the_mean_to_what_was_seen() -> None:
    random = np.random.default_rng(0)
    logits = np.zeros((4000, len(HEADS)), np.float32)
    logits[:, 0] = random.standard_normal(4000) * 3
    labels = {HEADS[0]: random.random(4000) < 1 / (1 + np.exp(-(logits[:, 0] / 3 - 2)))}
    scale, shift = calibrate(logits, labels)
    assert scale[0] == pytest.approx(1 / 3, abs=0.05)
    assert shift[0] == pytest.approx(-2, abs=0.15)
    assert scale[1:].tolist() == [1.0] * (len(HEADS) - 1)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_state_of_the_second_network_knows_all_but_its_target(ordered: bool) -> None:
    torch.manual_seed(0)
    net = Around(20, TowerOptions(around=8), ordered=ordered).eval()
    rows, actions = torch.randint(1, 21, (1, 6)), torch.tensor([[1, 2, 3, 2, 1, 2]])
    states = net.states(rows, actions)
    other = rows.clone()
    other[0, 2] = rows[0, 2] % 20 + 1
    changed = (net.states(other, actions) != states).any(-1)[0]
    assert changed.tolist() == [True, True, False, True, True, True]


def test_the_second_network_serves_as_it_predicted_what_came_last() -> None:
    torch.manual_seed(0)
    net = Around(20, TowerOptions(around=8), ordered=True).eval()
    rows, actions = torch.randint(1, 21, (3, 7)), torch.randint(1, 4, (3, 7))
    last = net.states(rows, actions)[:, -1, :8] + net.target_age.weight[0, :8]
    padded = actions[:, :6].clone()
    served = net.user(net.inputs()[rows[:, :6]], padded)
    torch.testing.assert_close(served, last)
    # Padding at the end changes nothing.
    more = torch.cat([rows[:, :6], torch.zeros((3, 4), dtype=torch.int64)], 1)
    none = torch.cat([padded, torch.zeros((3, 4), dtype=torch.int64)], 1)
    torch.testing.assert_close(net.user(net.inputs()[more], none), served)


def test_scores_served_are_those_of_training() -> None:
    torch.manual_seed(0)
    net = Around(20, TowerOptions(around=8), ordered=True).eval()
    rows, actions = torch.randint(1, 21, (2, 5)), torch.randint(1, 4, (2, 5))
    state = net.states(rows, actions)[:, -1] + net.target_age.weight[0]
    every = torch.arange(1, 21)
    trained = state @ net.items(every).T + net.bias[1:]
    user = net.user(net.inputs()[rows[:, :4]], actions[:, :4])
    torch.testing.assert_close(user @ net.outputs()[1:].T + net.biases()[1:], trained)


def _content(authors: list[int], words: list[int]) -> Content:
    n = len(authors)
    tags = np.zeros((n, MAX_TAGS), np.int64)
    tags[:, 0] = words
    return Content(np.array(authors), tags, np.zeros(n, np.int64), np.zeros(n, np.float32), np.ones(n, np.float32))


def test_content_is_the_ridge_regression_of_vectors_on_authors_and_words() -> None:
    random = np.random.default_rng(0)
    authors, words = random.integers(1, 9, 60), random.integers(11, 16, 60)
    vectors, weights = random.standard_normal((60, 3)).astype(np.float32), random.integers(1, 40, 60).astype(np.float32)
    columns = np.column_stack([authors[:, None] == np.unique(authors), words[:, None] == np.unique(words)]).astype(
        float
    )
    base = weights @ vectors / weights.sum()
    gram = columns.T @ (weights[:, None] * columns) + 5 * np.eye(columns.shape[1])
    exact = base + columns @ np.linalg.solve(gram, columns.T @ (weights[:, None] * (vectors - base)))
    known = _content(authors.tolist(), words.tolist())
    found = fit_content(known, vectors, weights).vectors(known)
    np.testing.assert_allclose(found, exact, atol=1e-4)


def test_a_new_items_vector_holds_nothing_of_its_own() -> None:
    random = np.random.default_rng(0)
    # Each author made one video: only words say something of others.
    known = _content(list(range(1, 41)), [11 + i % 2 for i in range(40)])
    vectors, weights = random.standard_normal((40, 3)).astype(np.float32), np.full(40, 10, np.float32)
    before = from_others(known, vectors, weights)
    changed = vectors.copy()
    changed[7] += 100
    after = from_others(known, changed, weights)
    np.testing.assert_array_equal(after[7], before[7])
    assert (after != before).any()
