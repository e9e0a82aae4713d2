"""A version as Triton takes it in its load calls. Everything here blocks: call it on a thread."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import model_config_pb2

from rank_svc.scorers.layout import MODELS, Manifest
from rank_svc.scorers.store import ModelRefused
from rank_svc.scorers.stores.triton_server import TritonUrl
from rank_svc.scorers.version import Declared, check_signature

PREFIX = "reelgraph."
_TYPES = {"TYPE_INT64": "int64", "TYPE_FP32": "float32"}


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """One version, by model."""

    folder: Path
    manifest: Manifest
    names: Mapping[str, str]
    """What Triton calls it: other content is another model, so that a changed folder never answers for another."""
    configs: Mapping[str, str]
    """JSON."""
    contents: Mapping[str, Mapping[str, bytes]]
    """By `file:1/NAME`."""
    inputs: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, frozenset[str]]
    """Inputs that travel as [n, 1] and reach the model as [n]."""
    most_rows: Mapping[str, int]
    """Of one call."""


def read_files(folder: Path, manifest: Manifest, options: TritonUrl) -> ModelFiles:
    """Read all models of a checked version. Raises ModelRefused for a configuration that can't be served."""
    parts = {model: _read(folder, manifest, model, options) for model in MODELS}
    return ModelFiles(
        folder,
        manifest,
        names={model: part[0]["name"] for model, part in parts.items()},
        configs={model: json.dumps(part[0], sort_keys=True) for model, part in parts.items()},
        contents={model: part[1] for model, part in parts.items()},
        inputs={model: tuple(value["name"] for value in part[0]["input"]) for model, part in parts.items()},
        columns={
            model: frozenset(value["name"] for value in part[0]["input"] if "reshape" in value)
            for model, part in parts.items()
        },
        most_rows={model: int(part[0]["max_batch_size"]) for model, part in parts.items()},
    )


def _read(folder: Path, manifest: Manifest, model: str, options: TritonUrl) -> tuple[dict[str, Any], dict[str, bytes]]:
    path = folder / model / "config.pbtxt"
    try:
        parsed = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (OSError, ValueError, text_format.ParseError) as error:
        raise ModelRefused(f"{path}: not a model configuration: {str(error)[:200]}") from error
    config: dict[str, Any] = MessageToDict(parsed, preserving_proto_field_name=True)
    if not config.get("max_batch_size"):
        raise ModelRefused(f"{path}: `max_batch_size` must be at least 1: rows are the batch")
    inputs, outputs = ([_declared(value) for value in config.get(side, ())] for side in ("input", "output"))
    check_signature(path, manifest, model, inputs, outputs)
    config["dynamic_batching"] = {
        **config.get("dynamic_batching", {}),
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": str(options.timeout_ms * 1000),
            "allow_timeout_override": True,
            "max_queue_size": 4 * options.in_flight,
        },
    }
    contents = {f"file:1/{file.name}": file.read_bytes() for file in sorted((folder / model / "1").iterdir())}
    config["name"] = f"{PREFIX}{_plain(manifest.version)}.{_digest(config, contents)}.{model}"
    return config, contents


def _declared(value: Mapping[str, Any]) -> Declared:
    dims = value["reshape"].get("shape", ()) if "reshape" in value else value.get("dims", ())
    shape = tuple(None if int(size) < 0 else int(size) for size in dims)
    kind = str(value.get("data_type", ""))
    return Declared(value["name"], _TYPES.get(kind, kind), shape, f"{kind} [{', '.join(('batch', *map(str, dims)))}]")


def _plain(version: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", version)[:64]


def _digest(config: Mapping[str, Any], contents: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(json.dumps({**config, "name": ""}, sort_keys=True).encode())
    for name, content in contents.items():
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:12]
