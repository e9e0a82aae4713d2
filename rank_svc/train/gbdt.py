"""The baseline ranker: gradient-boosted trees, one set an objective, and their trees as one ONNX node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm as lgb
import numpy as np
from onnx import helper

from rank_svc.scorers.store import Floats
from rank_svc.train.dataset import Flags
from rank_svc.train.rank_heads import HEADS

ROUNDS, PATIENCE = 300, 25
_COMMON = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


class Trees:
    """One booster a head; None where there is nothing to learn from: then the constant `level` answers."""

    def __init__(self, boosters: Sequence[Any], levels: Sequence[float]) -> None:
        self.boosters, self.levels = boosters, levels

    def logits(self, derived: Floats) -> Floats:
        """[n, len(HEADS)]"""
        columns = [
            np.full(len(derived), level) if booster is None else booster.predict(derived, raw_score=True)
            for booster, level in zip(self.boosters, self.levels, strict=True)
        ]
        return np.stack(columns, 1).astype(np.float32)

    def node(self, source: str, target: str) -> Any:
        """All trees as one operator: [n, columns] -> [n, len(HEADS)] logits."""
        made: dict[str, list[Any]] = {name: [] for name in _NODES + _LEAVES}
        tree = 0
        for head, (booster, level) in enumerate(zip(self.boosters, self.levels, strict=True)):
            # Where there was nothing to learn, one leaf says so.
            roots: list[Mapping[str, Any]] = [{"leaf_value": level}]
            if booster is not None:
                found = booster.dump_model(num_iteration=booster.best_iteration or None)["tree_info"]
                roots = [info["tree_structure"] for info in found]
            for root in roots:
                _walk(made, tree, head, root)
                tree += 1
        attributes: Any = made
        return helper.make_node(
            "TreeEnsembleRegressor",
            [source],
            [target],
            domain="ai.onnx.ml",
            n_targets=len(HEADS),
            aggregate_function="SUM",
            post_transform="NONE",
            **attributes,
        )


_NODES = [
    *("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes"),
    *("nodes_truenodeids", "nodes_falsenodeids"),
]
_LEAVES = ["target_treeids", "target_nodeids", "target_ids", "target_weights"]


def _walk(made: dict[str, list[Any]], tree: int, head: int, root: Mapping[str, Any]) -> None:
    count, waiting = 1, [(0, root)]
    while waiting:
        number, node = waiting.pop()
        leaf = "leaf_value" in node
        left, right = (0, 0) if leaf else (count, count + 1)
        values = (
            tree,
            number,
            0 if leaf else int(node["split_feature"]),
            0.0 if leaf else _down(float(node["threshold"])),
            "LEAF" if leaf else "BRANCH_LEQ",
            left,
            right,
        )
        for name, value in zip(_NODES, values, strict=True):
            made[name].append(value)
        if leaf:
            for name, value in zip(_LEAVES, (tree, number, head, float(node["leaf_value"])), strict=True):
                made[name].append(value)
            continue
        count += 2
        waiting += [(left, node["left_child"]), (right, node["right_child"])]


def _down(threshold: float) -> float:
    """The greatest float32 that is not above: `x <= t` then answers the same for every float32 x."""
    rounded = np.float32(threshold)
    return float(np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > threshold else rounded)


def fit_trees(derived: Floats, labels: Mapping[str, Flags], quantiles: Floats, late: Flags, *, seed: int = 0) -> Trees:
    """Fit on the rows that are not `late`, stop by those that are."""
    boosters: list[Any] = []
    levels = []
    for name in HEADS:
        truth = labels[name].astype(np.float64) if name in labels else quantiles.astype(np.float64)
        mean = float(np.clip(truth[~late].mean(), 1e-4, 1 - 1e-4))
        levels.append(float(np.log(mean / (1 - mean))))
        if name in labels and (truth[~late].sum() < 20 or truth[late].sum() < 3):
            boosters.append(None)
            continue
        # Cross-entropy takes shares as well as yes and no: a quantile is a share.
        parameters = _COMMON | {"objective": "cross_entropy", "metric": "cross_entropy", "seed": seed}
        if name in labels and truth.mean() < 0.05:
            parameters |= {"num_leaves": 7, "min_data_in_leaf": 100}
        data = lgb.Dataset(derived[~late], truth[~late], free_raw_data=True)
        held = lgb.Dataset(derived[late], truth[late], reference=data)
        stop = lgb.early_stopping(PATIENCE, verbose=False)
        boosters.append(lgb.train(parameters, data, ROUNDS, valid_sets=[held], callbacks=[stop]))
    return Trees(boosters, levels)
