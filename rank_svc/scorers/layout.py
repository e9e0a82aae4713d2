"""The folder of one model version: what Triton serves as it is, and `version.json`, which says what it is.

    version.json
    {user_tower,item_tower,ranker}/config.pbtxt
    {user_tower,item_tower,ranker}/1/model.onnx

A version is usable whole or not at all: digests of all files are in `version.json`, which is written last.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rank_svc.scorers.store import (
    HISTORY,
    MAX_INTERESTS,
    MAX_TAGS,
    OBJECTIVES,
    RANK_FEATURES,
    SIGNALS,
    ItemBatch,
    ModelInfo,
    ModelRefused,
    UserBatch,
)

MODELS = ("user_tower", "item_tower", "ranker")
OUTPUTS = {"user_tower": "user_vectors", "item_tower": "item_vectors", "ranker": "predictions"}
MANIFEST = "version.json"
POINTER = "serving"
"""In a folder of versions: a file that holds the name of the one that should serve."""
MAX_DIMENSIONS = 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """`version.json`."""

    version: str
    kind: str
    created: str
    dimensions: int
    least_similarity: float
    ranker_features: tuple[str, ...]
    """Columns of the ranker's input `features`, by name, from RANK_FEATURES."""
    objectives: tuple[str, ...]
    """Columns of the ranker's output."""
    vocabulary: Mapping[str, Any]
    """How ids and words become rows of tables, for people: the mapping itself is inside the models."""
    normalisation: Mapping[str, Any]
    """What was done to features, for people: it is done inside the models."""
    files: Mapping[str, str]
    """Relative path -> SHA-256 in hex."""

    def info(self) -> ModelInfo:
        """The part that every engine shows."""
        return ModelInfo(self.version, self.kind, self.created, self.dimensions, self.least_similarity)


def input_shapes(dimensions: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Every array that a tower or ranker may declare: (type, shape without the batch)."""
    ints, floats = "int64", "float32"
    return {
        **dict.fromkeys(("item_ids", "author_ids", "languages"), (ints, ())),
        "tags": (ints, (MAX_TAGS,)),
        **dict.fromkeys(("durations_s", "has_audio"), (floats, ())),
        **dict.fromkeys(("user_ids", "user_languages", "user_regions", "user_devices", "local_hours"), (ints, ())),
        **dict.fromkeys(("history_item_ids", "history_author_ids"), (ints, (HISTORY,))),
        "history_tags": (ints, (HISTORY, MAX_TAGS)),
        "history_vectors": (floats, (HISTORY, dimensions)),
        "history_signals": (floats, (HISTORY, len(SIGNALS))),
        "interest_tags": (ints, (MAX_INTERESTS,)),
        "item_vectors": (floats, (dimensions,)),
        "user_vectors": (floats, (dimensions,)),
    }


ITEM_INPUTS = frozenset(f.name for f in fields(ItemBatch))
USER_INPUTS = frozenset(f.name for f in fields(UserBatch))
ALLOWED_INPUTS = {
    "item_tower": ITEM_INPUTS,
    "user_tower": USER_INPUTS,
    "ranker": ITEM_INPUTS | USER_INPUTS | {"features", "item_vectors", "user_vectors"},
}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `version.json`, digests of the other files included."""
    written = asdict(manifest) | {"files": digests(folder)}
    (folder / MANIFEST).write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that a version has, but for `version.json`."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in found}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read and check a version's folder: the manifest makes sense, no file is missing or differs. ModelRefused else."""
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(**raw | {name: tuple(raw[name]) for name in ("ranker_features", "objectives")})
    except FileNotFoundError:
        raise ModelRefused(f"{path}: there is no such file; a version's folder has one") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelRefused(f"{path}: not a manifest: {error}") from error
    _check(path, manifest)
    for name in (f"{model}/{file}" for model in MODELS for file in ("config.pbtxt", "1/model.onnx")):
        if name not in manifest.files:
            raise ModelRefused(f"{path}: `files` lacks {name}")
    for name, digest in manifest.files.items():
        _check_file(folder, name, digest)
    return manifest


def read_version(folder: Path) -> str:
    """The name in a version's manifest, without checking its files. Raises ModelRefused."""
    path = folder / MANIFEST
    try:
        version = json.loads(path.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelRefused(f"{path}: not a manifest: {error}") from error
    if not isinstance(version, str) or not version:
        raise ModelRefused(f"{path}: `version` is empty")
    return version


def _check(path: Path, manifest: Manifest) -> None:
    unknown = set(manifest.ranker_features) - set(RANK_FEATURES)
    missing = set(OBJECTIVES) - set(manifest.objectives)
    for wrong, message in (
        (not isinstance(manifest.version, str) or not manifest.version, "`version` is empty"),
        (
            not isinstance(manifest.dimensions, int) or not 1 <= manifest.dimensions <= MAX_DIMENSIONS,
            f"`dimensions` must be 1 to {MAX_DIMENSIONS}, not {manifest.dimensions}",
        ),
        (not _finite(manifest.least_similarity), f"`least_similarity` is {manifest.least_similarity}"),
        (bool(unknown), f"`ranker_features` has unknown ones: {', '.join(sorted(unknown))}"),
        (bool(missing), f"`objectives` lacks {', '.join(sorted(missing))}"),
        (not isinstance(manifest.files, dict), "`files` is not an object"),
    ):
        if wrong:
            raise ModelRefused(f"{path}: {message}")


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _check_file(folder: Path, name: str, digest: str) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelRefused(f"{path}: lies outside of its version")
    if not path.is_file():
        raise ModelRefused(f"{path}: there is no such file")
    if _sha256(path) != digest:
        raise ModelRefused(f"{path}: differs from what {MANIFEST} says; the copy is incomplete or was changed")


def triton_config(name: str, inputs: Sequence[tuple[str, str, Sequence[int]]], columns: int) -> str:
    """`config.pbtxt` of one model. `inputs`: (name, `int64` or `float32`, shape without the batch); one output of
    `columns` floats a row. Rows are the batch dimension, so that requests share a batch."""
    kinds = {"int64": "TYPE_INT64", "float32": "TYPE_FP32"}
    listed = ",\n".join(f"  {_tensor(n, kinds[kind], shape or (1,), squeeze=not shape)}" for n, kind, shape in inputs)
    return (
        f'name: "{name}"\n'
        'backend: "onnxruntime"\n'
        "max_batch_size: 1024\n"
        f"input [\n{listed}\n]\n"
        f"output [\n  {_tensor(OUTPUTS[name], 'TYPE_FP32', (columns,), squeeze=False)}\n]\n"
        "instance_group [ { kind: KIND_AUTO } ]\n"
        "dynamic_batching { max_queue_delay_microseconds: 200 }\n"
    )


def _tensor(name: str, kind: str, shape: Sequence[int], *, squeeze: bool) -> str:
    dims = ", ".join(map(str, shape))
    # Triton has no rank-0 rows: a column arrives as [n, 1] and reaches the model as [n].
    reshape = " reshape { shape: [ ] }" if squeeze else ""
    return f'{{ name: "{name}" data_type: {kind} dims: [ {dims} ]{reshape} }}'
