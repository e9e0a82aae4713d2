"""Trained towers as ONNX with the inputs and outputs that are served."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from rank_svc.scorers.layout import OUTPUTS, input_shapes, triton_config
from rank_svc.scorers.store import HISTORY, MAX_TAGS, SIGNALS, Floats
from rank_svc.train.cold import ContentMap, fit_content
from rank_svc.train.dataset import Ints
from rank_svc.train.fit import Fitted
from rank_svc.train.served import Content, served_ids

OPSET, ML_OPSET, IR = 17, 2, 9
_KINDS = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}


@dataclass(frozen=True, slots=True)
class Lookup:
    """An input whose values become rows of a table: rows[i] for keys[i], 0 for all others."""

    source: str
    keys: Ints
    rows: Ints


def dimensions_of(fitted: Fitted) -> int:
    """d: all parts, and one for the bias."""
    return int(fitted.model.items().shape[1])


def item_table(fitted: Fitted) -> Floats:
    """[items, d] vectors of the catalogue."""
    with torch.no_grad():
        found: Floats = fitted.model.items()[1:].numpy()
    return found


class ItemTower(nn.Module):
    """A row of the table, or from content where the id is not known."""

    def __init__(self, table: Floats, cold: ContentMap) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.from_numpy(np.concatenate([np.zeros_like(table[:1]), table])))
        self.words, self.base = nn.Parameter(torch.from_numpy(cold.table)), nn.Parameter(torch.from_numpy(cold.base))

    def forward(self, item: Tensor, author: Tensor, tags: Tensor, language: Tensor) -> Tensor:
        """[n], [n], [n, MAX_TAGS], [n] rows -> [n, d]"""
        fresh = self.base + self.words[author] + self.words[tags].sum(1) + self.words[language]
        return torch.where((item > 0)[:, None], self.table[item], fresh)


class UserTower(nn.Module):
    """The state after the newest interaction, as in training."""

    def __init__(self, fitted: Fitted, cold: ContentMap) -> None:
        super().__init__()
        self.net = fitted.model
        self.table = nn.Parameter(self.net.entries().detach())
        self.words, self.base = nn.Parameter(torch.from_numpy(cold.table)), nn.Parameter(torch.from_numpy(cold.base))

    def forward(self, item: Tensor, author: Tensor, tags: Tensor, ids: Tensor, signals: Tensor) -> Tensor:
        """[b, HISTORY, ...] newest first -> [b, d]"""
        count = (ids != 0).long().sum(1, keepdim=True)
        # The network reads oldest first, from the left.
        order = (count - 1 - torch.arange(HISTORY)).clamp(min=0)
        real = (torch.arange(HISTORY) < count).long()
        item, author = item.gather(1, order), author.gather(1, order)
        tags = tags.gather(1, order[..., None].expand(-1, -1, MAX_TAGS))
        actions = (_actions(signals).gather(1, order)) * real
        fresh = self.base + self.words[author] + self.words[tags].sum(2)
        entries = torch.where((item > 0)[..., None], self.table[item], fresh) * real[..., None]
        return self.net.users(entries, actions)


def _actions(signals: Tensor) -> Tensor:
    def on(name: str) -> Tensor:
        return signals[..., SIGNALS.index(name)] > 0.5

    strength = torch.where(on("liked"), 3, torch.where(on("completed"), 2, 1))
    return torch.where(on("not_interested"), 1, strength)


def write_towers(folder: Path, fitted: Fitted, catalogue: Ints, content: Content) -> Floats:
    """Write both towers into a version's folder; returns the item vectors [items, d]."""
    frequency = fitted.source.frequency[1:]
    table = item_table(fitted)
    with torch.no_grad():
        entries = fitted.model.entries()[1:].numpy()
    dimensions = dimensions_of(fitted)
    for_items = fit_content(content, table, frequency)
    for_users = fit_content(content, entries, frequency)
    ids = served_ids(catalogue)
    order = np.argsort(ids)
    known = (ids[order], order.astype(np.int64) + 1)
    words_at = 1 + len(for_items.authors)
    author = (for_items.authors, np.arange(1, words_at))
    word = (for_items.words, np.arange(words_at, words_at + len(for_items.words)))
    shapes = input_shapes(dimensions)
    lookups = {"item": Lookup("item_ids", *known), "author": Lookup("author_ids", *author)}
    lookups |= {"tags": Lookup("tags", *word), "language": Lookup("languages", *word)}
    write_model(folder, "item_tower", ItemTower(table, for_items), lookups, (), shapes, dimensions)
    lookups = {"item": Lookup("history_item_ids", *known), "author": Lookup("history_author_ids", *author)}
    lookups |= {"tags": Lookup("history_tags", *word)}
    plain = {"ids": "history_item_ids", "signals": "history_signals"}
    write_model(folder, "user_tower", UserTower(fitted, for_users), lookups, plain.items(), shapes, dimensions)
    return table


def write_model(
    folder: Path,
    name: str,
    module: nn.Module,
    lookups: Mapping[str, Lookup],
    plain: Any,
    shapes: Mapping[str, tuple[str, tuple[int, ...]]],
    columns: int,
) -> None:
    """Write one model with its `config.pbtxt`. `lookups` and `plain` name the module's arguments in order: served
    inputs through a lookup, and (argument, served input) as they are."""
    sources = {argument: lookup.source for argument, lookup in lookups.items()} | dict(plain)
    arguments = [(f"arg_{argument}", *shapes[source]) for argument, source in sources.items()]
    graph = traced(module.eval(), arguments, name, OUTPUTS[name])
    _put_lookups(graph.graph, lookups, dict(plain))
    served = list(dict.fromkeys(sources.values()))
    del graph.graph.input[:], graph.graph.output[:], graph.graph.value_info[:]
    graph.graph.input.extend(tensor_info(n, *shapes[n]) for n in served)
    graph.graph.output.extend([tensor_info(OUTPUTS[name], "float32", (columns,))])
    del graph.opset_import[:]
    graph.opset_import.extend([helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)])
    graph.ir_version = IR
    onnx.checker.check_model(graph)
    place = folder / name / "1"
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    declared = [(n, *shapes[n]) for n in served]
    (folder / name / "config.pbtxt").write_text(triton_config(name, declared, columns), encoding="utf-8")


def traced(module: nn.Module, arguments: Sequence[tuple[str, str, tuple[int, ...]]], name: str, output: str) -> Any:
    """A module as an ONNX graph. `arguments`: (name, `int64` or `float32`, shape without the batch)."""
    kinds = {"int64": torch.int64, "float32": torch.float32}
    examples = tuple(torch.zeros((2, *shape), dtype=kinds[kind]) for _, kind, shape in arguments)
    names = [argument for argument, _, _ in arguments]
    with warnings.catch_warnings(), io.BytesIO() as written:
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            examples,
            written,
            input_names=names,
            output_names=[output],
            dynamic_axes={**{n: {0: "batch"} for n in names}, output: {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load_model_from_string(written.getvalue())


def tensor_info(name: str, kind: str, shape: Sequence[int]) -> Any:
    """An input or output with a free batch dimension."""
    return helper.make_tensor_value_info(name, _KINDS[kind], ["batch", *shape])


def _put_lookups(graph: Any, lookups: Mapping[str, Lookup], plain: Mapping[str, str]) -> None:
    first = []
    for argument, lookup in lookups.items():
        # At least one key: an empty vocabulary is one that nothing is in.
        keys = lookup.keys.tolist() or [-(2**63)]
        rows = lookup.rows.tolist() or [0]
        first.append(
            helper.make_node(
                "LabelEncoder",
                [lookup.source],
                [f"arg_{argument}"],
                domain="ai.onnx.ml",
                keys_int64s=keys,
                values_int64s=rows,
                default_int64=0,
            )
        )
    for argument, source in plain.items():
        first.append(helper.make_node("Identity", [source], [f"arg_{argument}"]))
    nodes = [*first, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
