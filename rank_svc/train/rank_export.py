"""Rankers as ONNX: derived features, logits and calibration in one graph over the served arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import compose, helper
from torch import Tensor, nn

from rank_svc.scorers.layout import OUTPUTS, input_shapes, triton_config
from rank_svc.train.derive import Derive
from rank_svc.train.export import IR, OPSET, tensor_info, traced
from rank_svc.train.gbdt import Trees
from rank_svc.train.neural_ranker import Network
from rank_svc.train.rank_heads import COLUMNS, HEADS, Answer

INPUTS = ("features", "item_vectors", "user_vectors", "history_vectors", "history_signals")


class Whole(nn.Module):
    """Served arrays -> predictions, for a network."""

    def __init__(self, derive: Derive, network: nn.Module, answer: Answer) -> None:
        super().__init__()
        self.derive, self.network, self.answer = derive, network, answer

    def forward(self, features: Tensor, items: Tensor, users: Tensor, history: Tensor, signals: Tensor) -> Tensor:
        derived = self.derive(features, items, users, history, signals)
        found: Tensor = self.answer(self.network(derived, items, users, history, signals), features)
        return found


def write_ranker(folder: Path, dimensions: int, derive: Derive, kept: Trees | Network, answer: Answer) -> None:
    """Write `ranker/` into a version's folder."""
    shapes = input_shapes(dimensions) | {"features": ("float32", (len(derive.names),))}
    declared = [(name, *shapes[name]) for name in INPUTS]
    if isinstance(kept, Trees):
        graph = _trees_graph(derive, kept, answer, declared)
    else:
        graph = traced(Whole(derive, kept.model, answer).eval(), declared, "ranker", OUTPUTS["ranker"])
    del graph.graph.input[:], graph.graph.output[:], graph.graph.value_info[:], graph.opset_import[:]
    graph.graph.input.extend(tensor_info(name, kind, shape) for name, kind, shape in declared)
    graph.graph.output.extend([tensor_info(OUTPUTS["ranker"], "float32", (len(COLUMNS),))])
    graph.opset_import.extend([helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)])
    graph.ir_version = IR
    onnx.checker.check_model(graph)
    place = folder / "ranker" / "1"
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    (folder / "ranker" / "config.pbtxt").write_text(triton_config("ranker", declared, len(COLUMNS)), encoding="utf-8")


def _trees_graph(
    derive: Derive, trees: Trees, answer: Answer, declared: Sequence[tuple[str, str, tuple[int, ...]]]
) -> Any:
    first = traced(derive.eval(), declared, "derive", "derived")
    features = declared[0]
    arguments = [("logits", "float32", (len(HEADS),)), features]
    last = compose.add_prefix(traced(answer.eval(), arguments, "answer", OUTPUTS["ranker"]), "answer_")
    joints = [
        trees.node("derived", "answer_logits"),
        helper.make_node("Identity", ["features"], ["answer_features"]),
    ]
    renamed = helper.make_node("Identity", [f"answer_{OUTPUTS['ranker']}"], [OUTPUTS["ranker"]])
    nodes = [*first.graph.node, *joints, *last.graph.node, renamed]
    constants = [*first.graph.initializer, *last.graph.initializer]
    return helper.make_model(helper.make_graph(nodes, "ranker", [], [], constants))
