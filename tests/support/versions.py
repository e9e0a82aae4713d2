"""Versions to promote, made of the base version: better, worse and broken ones; and logs to compare them on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import helper, numpy_helper
from usearch.index import Index

from rank_svc.scorers.layout import MANIFEST, MODELS, OUTPUTS, digests

D = 64
Edit = Callable[[Path], None]


def make_version(folder: Path, base: Path, name: str, *edits: Edit, **changes: Any) -> Path:
    """A copy of the base version under another name, edited, with digests that are right again; its folder."""
    target = folder / name
    shutil.copytree(base, target)
    # Another name alone would be the same files: a version's name says which files it is.
    (target / "note.txt").write_text(name, encoding="utf-8")
    for edit in edits:
        edit(target)
    path = target / MANIFEST
    manifest = json.loads(path.read_text()) | {"version": name, "files": digests(target)} | changes
    path.write_text(json.dumps(manifest))
    return target


def negated(model: str) -> Edit:
    """The model answers the opposite: of a vector its negative, of a probability one less it."""

    def edit(folder: Path) -> None:
        path = folder / model / "1" / "model.onnx"
        loaded = onnx.load(str(path))
        output = OUTPUTS[model]
        for node in loaded.graph.node:
            node.output[:] = [f"{name}_before" if name == output else name for name in node.output]
        if model == "ranker":
            loaded.graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "one"))
            loaded.graph.node.append(helper.make_node("Sub", ["one", f"{output}_before"], ["flipped"]))
            loaded.graph.node.append(helper.make_node("Abs", ["flipped"], [output]))
        else:
            loaded.graph.node.append(helper.make_node("Neg", [f"{output}_before"], [output]))
        onnx.save(loaded, str(path))

    return edit


def with_nan(model: str) -> Edit:
    """One weight of the model is no number: one that no trial row may touch."""

    def edit(folder: Path) -> None:
        path = folder / model / "1" / "model.onnx"
        loaded = onnx.load(str(path))
        table = np.zeros((4, 2), np.float32)
        table[3, 1] = np.nan
        loaded.graph.initializer.append(numpy_helper.from_array(table, "table_of_nothing"))
        onnx.save(loaded, str(path))

    return edit


def with_vectors(ids: Any = None, vectors: Any = None, index: Any = None) -> Edit:
    """Item vectors and their index beside the models, right ones unless given."""
    ids = np.arange(1, 41, dtype=np.int64) if ids is None else ids
    if vectors is None:
        vectors = np.random.default_rng(0).normal(size=(len(ids), D)).astype(np.float32)

    def edit(folder: Path) -> None:
        np.savez(folder / "item_vectors.npz", ids=ids, vectors=vectors)
        if isinstance(index, bytes):
            (folder / "items.usearch").write_bytes(index)
            return
        held = np.nan_to_num(vectors if index is None else index)
        built = Index(ndim=held.shape[1], metric="ip", dtype="f16")
        built.add(np.arange(1, len(held) + 1, dtype=np.int64), held)
        built.save(str(folder / "items.usearch"))

    return edit


def learned_until(at_ms: int) -> Edit:
    """Its metrics say that it has learned from rows up to a moment."""

    def edit(folder: Path) -> None:
        (folder / "metrics.json").write_text(json.dumps({"data": {"newest_ms": at_ms}}))

    return edit


def write_dataset(folder: Path, **tables: dict[str, Any]) -> Path:
    """A dataset folder of the tables given by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder


def snapshot_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


__all__ = ["MODELS", "learned_until", "make_version", "negated", "snapshot_of", "with_nan", "with_vectors"]
