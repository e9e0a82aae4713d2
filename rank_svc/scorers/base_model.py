"""Writes the base version, the same bytes each time: `python -m rank_svc.scorers.base_model OUT`.

Needs `onnx`, which serving does not.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rank_svc.features.history import APPEAL, GLANCE, HALF_LIFE_HOURS
from rank_svc.scorers import base_weights as w
from rank_svc.scorers.layout import OUTPUTS, Manifest, input_shapes, triton_config, write_manifest
from rank_svc.scorers.store import HISTORY, OBJECTIVES, RANK_FEATURES, SIGNALS

OPSET, IR = 17, 8
_KINDS = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}


class Graph:
    """An ONNX graph in the making. Names of values are unique within it."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: NDArray[np.generic] | float | Sequence[int], name: str = "") -> str:
        """A constant; Python numbers are float32, lists of integers int64."""
        array = np.asarray(value, np.float32) if isinstance(value, float) else np.asarray(value)
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """One operator; returns the name of its output."""
        out = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def to_float(self, value: str) -> str:
        return self.op("Cast", value, to=TensorProto.FLOAT)

    def total(self, value: str, axis: int, *, keep: bool = False) -> str:
        return self.op("ReduceSum", value, self.constant([axis]), keepdims=int(keep))

    def column(self, value: str, index: int, axis: int) -> str:
        """`value[..., index]` with the axis gone."""
        return self.op("Gather", value, self.constant(np.array(index, np.int64)), axis=axis)

    def lookup(self, table: str, rows: int, ids: str) -> str:
        """Rows of `table` by `ids` modulo its length; zeros for id 0."""
        index = self.op("Mod", ids, self.constant(np.array(rows, np.int64)))
        found = self.to_float(self.op("Gather", table, index, axis=0))
        present = self.to_float(self.op("Greater", ids, self.constant(np.array(0, np.int64))))
        return self.op("Mul", found, self.op("Unsqueeze", present, self.constant([-1])))

    def times(self, value: str, factor: float) -> str:
        return self.op("Mul", value, self.constant(factor))

    def normalise(self, value: str, out: str) -> str:
        """Length 1 along the last axis; zeros stay zeros."""
        square = self.total(self.op("Mul", value, value), -1, keep=True)
        length = self.op("Max", self.op("Sqrt", square), self.constant(1e-6))
        return self.op("Div", value, length, out=out)


def _signs(random: np.random.RandomState, rows: int) -> NDArray[np.int8]:
    # Signs are as good as normal numbers for a random projection, an eighth of the size, and compress well.
    return (random.randint(0, 2, (rows, w.DIMENSIONS)) * 2 - 1).astype(np.int8)


def _tag_mean(g: Graph, table: str, tags: str, rows: int) -> str:
    """The mean direction of tags: sum over the root of their number, in units of one tag's length."""
    found = g.lookup(table, rows, tags)
    count = g.total(g.to_float(g.op("Greater", tags, g.constant(np.array(0, np.int64)))), -1, keep=True)
    scale = g.op("Sqrt", g.op("Max", count, g.constant(1.0)))
    return g.times(g.op("Div", g.total(found, -2), scale), w.DIMENSIONS**-0.5)


def item_tower() -> onnx.GraphProto:
    """The item vector: what `base_weights` says of tags, author, language and sound."""
    g, random = Graph(), np.random.RandomState(w.SEED)
    tag_table = g.constant(_signs(random, w.TAG_ROWS), "tag_table")
    author_table = g.constant(_signs(random, w.AUTHOR_ROWS), "author_table")
    language_table = g.constant(_signs(random, w.LANGUAGE_ROWS), "language_table")
    unit = w.DIMENSIONS**-0.5
    sound = g.constant(_signs(random, 1).astype(np.float32) * np.float32(unit * w.SOUND_WEIGHT))
    heard = g.op("Unsqueeze", "has_audio", g.constant([-1]))
    parts = [
        g.times(_tag_mean(g, tag_table, "tags", w.TAG_ROWS), w.TAG_WEIGHT),
        g.times(g.lookup(author_table, w.AUTHOR_ROWS, "author_ids"), unit * w.AUTHOR_WEIGHT),
        g.times(g.lookup(language_table, w.LANGUAGE_ROWS, "languages"), unit * w.LANGUAGE_WEIGHT),
        g.op("MatMul", heard, sound),
    ]
    g.normalise(g.op("Sum", *parts), OUTPUTS["item_tower"])
    return _finish(g, "item_tower", ("tags", "author_ids", "languages", "has_audio"), w.DIMENSIONS)


def user_tower() -> onnx.GraphProto:
    """The user vector: the decayed mean of watched videos' vectors by `features.history.appeal`, and interests."""
    g, random = Graph(), np.random.RandomState(w.SEED)
    tag_table = g.constant(_signs(random, w.TAG_ROWS), "tag_table")
    linear = np.array([[APPEAL.get(name, 0.0)] for name in SIGNALS], np.float32)
    said = g.op("MatMul", "history_signals", g.constant(linear))
    watched = g.op("Sign", g.column("history_signals", SIGNALS.index("watch_ratio"), 2))
    appeal = g.op("Sub", g.op("Squeeze", said, g.constant([-1])), g.times(watched, APPEAL["watch_ratio"] * GLANCE))
    age = g.column("history_signals", SIGNALS.index("age_hours"), 2)
    decay = g.op("Exp", g.times(age, -float(np.log(2)) / HALF_LIFE_HOURS))
    position = g.constant((w.POSITION_DECAY ** np.arange(HISTORY)).astype(np.float32))
    weight = g.op("Mul", appeal, g.op("Mul", decay, position))
    pulled = g.op("MatMul", g.op("Unsqueeze", weight, g.constant([1])), "history_vectors")
    mass = g.op("Max", g.total(g.op("Abs", weight), 1, keep=True), g.constant(1e-6))
    taste = g.op("Div", g.op("Squeeze", pulled, g.constant([1])), mass)
    chosen = g.times(_tag_mean(g, tag_table, "interest_tags", w.TAG_ROWS), w.INTEREST_WEIGHT)
    g.normalise(g.op("Add", taste, chosen), OUTPUTS["user_tower"])
    return _finish(g, "user_tower", ("history_vectors", "history_signals", "interest_tags"), w.DIMENSIONS)


def ranker_features() -> tuple[str, ...]:
    """The features that the base ranker uses, in the catalogue's order."""
    used = {name for _, weights in (*w.LOGITS.values(), w.WATCH_LOGIT) for name in weights}
    return tuple(name for name in RANK_FEATURES if name in used | {"duration_s", "typical_watch_s"})


def ranker() -> onnx.GraphProto:
    """The fixed logistic of `base_weights`."""
    g, names = Graph(), ranker_features()

    def logit(bias: float, weights: dict[str, float]) -> str:
        column = np.array([[weights.get(name, 0.0)] for name in names], np.float32)
        return g.op("Add", g.op("MatMul", "features", g.constant(column)), g.constant(bias))

    def feature(name: str) -> str:
        return g.op("Unsqueeze", g.column("features", names.index(name), 1), g.constant([-1]))

    columns = {name: g.op("Sigmoid", logit(bias, weights)) for name, (bias, weights) in w.LOGITS.items()}
    share = g.times(g.op("Sigmoid", logit(*w.WATCH_LOGIT)), 2.0)
    seconds = g.op("Min", g.op("Mul", share, feature("typical_watch_s")), feature("duration_s"))
    columns["watch_ms"] = g.times(seconds, 1000.0)
    g.op("Concat", *(columns[name] for name in OBJECTIVES), axis=1, out=OUTPUTS["ranker"])
    return _finish(g, "ranker", ("features",), len(OBJECTIVES))


def _inputs(names: Sequence[str]) -> list[tuple[str, str, tuple[int, ...]]]:
    shapes = input_shapes(w.DIMENSIONS) | {"features": ("float32", (len(ranker_features()),))}
    return [(name, *shapes[name]) for name in names]


def _finish(g: Graph, name: str, inputs: Sequence[str], columns: int) -> onnx.GraphProto:
    declared = [helper.make_tensor_value_info(n, _KINDS[kind], ["batch", *shape]) for n, kind, shape in _inputs(inputs)]
    output = helper.make_tensor_value_info(OUTPUTS[name], TensorProto.FLOAT, ["batch", columns])
    return helper.make_graph(g.nodes, name, declared, [output], g.constants)


def write(folder: Path) -> None:
    """Write the base version into `folder`, which must not exist or be empty."""
    for name, graph in (("item_tower", item_tower()), ("user_tower", user_tower()), ("ranker", ranker())):
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        onnx.checker.check_model(model, full_check=True)
        place = folder / name / "1"
        place.mkdir(parents=True)
        (place / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
        columns = graph.output[0].type.tensor_type.shape.dim[1].dim_value
        declared = _inputs([value.name for value in graph.input])
        (folder / name / "config.pbtxt").write_text(triton_config(name, declared, columns), encoding="utf-8")
    write_manifest(folder, _manifest())


def _manifest() -> Manifest:
    return Manifest(
        w.VERSION,
        "base",
        w.CREATED,
        w.DIMENSIONS,
        w.LEAST_SIMILARITY,
        ranker_features(),
        OBJECTIVES,
        vocabulary={
            "tags": {"rows": w.TAG_ROWS, "by": "token modulo rows"},
            "authors": {"rows": w.AUTHOR_ROWS, "by": "id modulo rows"},
            "languages": {"rows": w.LANGUAGE_ROWS, "by": "token modulo rows"},
        },
        normalisation={"vectors": "length 1", "features": "none"},
        files={},
    )


def main(arguments: Sequence[str]) -> int:
    """Write the base version into the one argument."""
    if len(arguments) != 1:
        print("usage: python -m rank_svc.scorers.base_model OUT", file=sys.stderr)
        return 2
    write(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
