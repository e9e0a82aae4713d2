"""Models run in this process by onnxruntime, one thread a call, from a folder in the layout of `scorers/layout.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread
import onnxruntime as ort
from numpy.typing import NDArray

from rank_svc.scorers.folder import VersionFolder
from rank_svc.scorers.layout import MODELS, Manifest
from rank_svc.scorers.store import ModelRefused
from rank_svc.scorers.version import Declared, VersionScorer, check_signature

_TYPES = {"tensor(int64)": "int64", "tensor(float)": "float32"}


async def open(url: str, threads: anyio.CapacityLimiter) -> FileModels:
    """Open `file:///path` (or `onnx:///path`): a version's folder, or a folder of versions with a `serving` pointer."""
    return FileModels(folder(url), threads)


def folder(url: str) -> Path:
    """Where the versions of `url` lie."""
    return Path(unquote(urlsplit(url).path))


class FileModels:
    """See `ModelRepository`."""

    def __init__(self, path: Path, threads: anyio.CapacityLimiter) -> None:
        self._versions = VersionFolder(path)
        self._threads = threads

    async def wanted(self) -> str:
        return await anyio.to_thread.run_sync(self._versions.wanted, limiter=self._threads)

    async def load(self, version: str) -> VersionScorer:
        place, manifest, sessions = await anyio.to_thread.run_sync(self._load, version, limiter=self._threads)
        scorer = VersionScorer(manifest, _Sessions(manifest.version, sessions, self._threads))
        await scorer.try_out(place)
        return scorer

    def _load(self, version: str) -> tuple[Path, Manifest, dict[str, Any]]:
        place, manifest = self._versions.read(version)
        sessions = {}
        for name in MODELS:
            sessions[name] = session = _session(place, name)
            inputs, outputs = map(_declared, session.get_inputs()), map(_declared, session.get_outputs())
            check_signature(_path(place, name), manifest, name, list(inputs), list(outputs))
        return place, manifest, sessions

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


def _path(place: Path, name: str) -> Path:
    return place / name / "1" / "model.onnx"


def _session(place: Path, name: str) -> Any:
    path = _path(place, name)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base of their own
        raise ModelRefused(f"{path}: onnxruntime can't load it: {str(error)[:300]}") from error


def _declared(value: Any) -> Declared:
    """A fixed first dimension is no batch; a named dimension fits any size."""
    shape = None
    if value.shape and not isinstance(value.shape[0], int):
        shape = tuple(size if isinstance(size, int) else None for size in value.shape[1:])
    return Declared(value.name, _TYPES.get(value.type, value.type), shape, f"{value.type} {value.shape}")


class _Sessions:
    """`LoadedModels` of onnxruntime."""

    def __init__(self, version: str, sessions: Mapping[str, Any], threads: anyio.CapacityLimiter) -> None:
        self._version = version
        self._sessions = dict(sessions)
        self._threads = threads
        self.inputs = {name: tuple(value.name for value in s.get_inputs()) for name, s in sessions.items()}

    async def run(self, model: str, feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        session = self._sessions.get(model)
        if session is None:
            raise ModelRefused(f"version {self._version} is unloaded")
        answer: NDArray[Any] = await anyio.to_thread.run_sync(
            lambda: session.run(None, dict(feed))[0], limiter=self._threads
        )
        return answer

    async def release(self) -> None:
        self._sessions.clear()
