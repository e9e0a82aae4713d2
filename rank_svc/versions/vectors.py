"""Whether the item vectors and the index that a trained version carries belong to it and can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from usearch.index import Index

from rank_svc.scorers.layout import Manifest
from rank_svc.scorers.store import Floats, ModelRefused

VECTORS, INDEX = "item_vectors.npz", "items.usearch"
SAMPLE, FOUND = 50, 0.5
"""Of so many vectors, the least share that the index must give back as they were put in."""


def check_vectors(folder: Path, manifest: Manifest) -> None:
    """Raise ModelRefused naming file and reason. A version without these files, such as the base one, is right too."""
    if VECTORS not in manifest.files and INDEX not in manifest.files:
        return
    for name, other in ((VECTORS, INDEX), (INDEX, VECTORS)):
        if name not in manifest.files:
            raise ModelRefused(f"{folder / name}: there is no such file, though there is {other}")
    ids, vectors = _read(folder / VECTORS, manifest.dimensions)
    _check_index(folder / INDEX, manifest.dimensions, ids, vectors)


def _read(path: Path, dimensions: int) -> tuple[Any, Floats]:
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, vectors = file["ids"], file["vectors"]
    except Exception as error:  # zipfile, struct, zlib and numpy each have their own
        raise ModelRefused(f"{path}: can't be read: {str(error)[:200]}") from error
    wanted = (len(ids), dimensions)
    if ids.dtype != np.int64 or vectors.dtype != np.float32 or vectors.shape != wanted:
        raise ModelRefused(
            f"{path}: is {ids.dtype} ids and {vectors.dtype} {list(vectors.shape)}, must be int64 and float32 "
            f"{list(wanted)}"
        )
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise ModelRefused(f"{path}: the vector of item {int(ids[broken[0]])} is not finite ({len(broken)} are not)")
    if len(np.unique(ids)) != len(ids):
        raise ModelRefused(f"{path}: an id is there twice")
    return ids, vectors


def _check_index(path: Path, dimensions: int, ids: Any, vectors: Floats) -> None:
    try:
        index = Index.restore(str(path), view=False)
    except Exception as error:  # usearch raises RuntimeError, ValueError and more, by what is broken
        raise ModelRefused(f"{path}: is no index: {str(error)[:200]}") from error
    if index is None:
        raise ModelRefused(f"{path}: is no index")
    if index.ndim != dimensions or len(index) != len(ids):
        raise ModelRefused(
            f"{path}: has {len(index)} vectors of {index.ndim} dimensions, must have {len(ids)} of {dimensions}"
        )
    some = np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids)), dtype=np.int64)
    kept: list[Any] = [index.get(int(ids[i])) for i in some.tolist()]
    # The index keeps half precision.
    near = [k is not None and np.allclose(k, vectors[i], rtol=1e-2, atol=1e-2) for k, i in zip(kept, some, strict=True)]
    if len(near) and np.mean(near) < FOUND:
        raise ModelRefused(f"{path}: holds other vectors than {VECTORS}")
