"""Models run in this process by onnxruntime, one thread a call, from a folder in the layout of `scorers/layout.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rank_svc.scorers.encoding import ViewerRow, encode_items, encode_users
from rank_svc.scorers.layout import (
    ALLOWED_INPUTS,
    MANIFEST,
    MODELS,
    OUTPUTS,
    POINTER,
    Manifest,
    input_shapes,
    read_manifest,
    read_version,
)
from rank_svc.scorers.store import (
    RANK_FEATURES,
    Floats,
    ItemBatch,
    ModelInfo,
    ModelRefused,
    Predictions,
    RankRows,
    UserBatch,
)
from rank_svc.scorers.trial import trial_history, trial_videos

_TYPES = {"tensor(int64)": "int64", "tensor(float)": "float32"}


async def open(url: str, threads: anyio.CapacityLimiter) -> FileModels:
    """Open `file:///path` (or `onnx:///path`): a version's folder, or a folder of versions with a `serving` pointer."""
    return FileModels(Path(unquote(urlsplit(url).path)), threads)


class FileModels:
    """See `ModelRepository`."""

    def __init__(self, folder: Path, threads: anyio.CapacityLimiter) -> None:
        self._folder = folder
        self._threads = threads

    async def wanted(self) -> str:
        return await anyio.to_thread.run_sync(self._wanted, limiter=self._threads)

    def _wanted(self) -> str:
        if (self._folder / MANIFEST).is_file():
            return read_version(self._folder)
        pointer = self._folder / POINTER
        try:
            name = pointer.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ModelRefused(f"{self._folder}: neither {MANIFEST} nor a readable {POINTER} in it") from error
        if not name or name != Path(name).name or name.startswith("."):
            raise ModelRefused(f"{pointer}: {name[:100]!r} is not the name of a version")
        return name

    async def load(self, version: str) -> Scorer:
        return await anyio.to_thread.run_sync(self._load, version, limiter=self._threads)

    def _load(self, version: str) -> Scorer:
        single = (self._folder / MANIFEST).is_file()
        folder = self._folder if single else self._folder / version
        manifest = read_manifest(folder)
        if manifest.version != version:
            raise ModelRefused(f"{folder / MANIFEST}: `version` is {manifest.version}, wanted was {version}")
        scorer = Scorer(manifest, {name: _session(folder, name) for name in MODELS}, self._threads)
        for name in MODELS:
            scorer.check_signature(folder, name)
        scorer.try_out(folder)
        return scorer

    async def close(self) -> None:
        return None


def _session(folder: Path, name: str) -> Any:
    path = folder / name / "1" / "model.onnx"
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base of their own
        raise ModelRefused(f"{path}: onnxruntime can't load it: {str(error)[:300]}") from error


class Scorer:
    """See `rank_svc.scorers.store.Scorer`."""

    def __init__(self, manifest: Manifest, sessions: Mapping[str, Any], threads: anyio.CapacityLimiter) -> None:
        self._manifest = manifest
        self._sessions: dict[str, Any] = dict(sessions)
        self._threads = threads
        self._columns = [RANK_FEATURES.index(name) for name in manifest.ranker_features]
        self._inputs = {name: tuple(value.name for value in s.get_inputs()) for name, s in sessions.items()}

    @property
    def info(self) -> ModelInfo:
        return self._manifest.info()

    async def user_vectors(self, batch: UserBatch) -> Floats:
        return await self._call("user_tower", _arrays(batch), len(batch.user_ids))

    async def item_vectors(self, batch: ItemBatch) -> Floats:
        return await self._call("item_tower", _arrays(batch), len(batch.item_ids))

    async def rank(self, rows: RankRows) -> Predictions:
        n = len(rows.features)
        predicted = await self._call("ranker", self._rank_arrays(rows, n), n)
        return Predictions({name: predicted[:, i] for i, name in enumerate(self._manifest.objectives)})

    def _rank_arrays(self, rows: RankRows, n: int) -> dict[str, NDArray[Any]]:
        if rows.features.shape[1:] != (len(RANK_FEATURES),):
            raise ValueError(f"features: want [n, {len(RANK_FEATURES)}], got {list(rows.features.shape)}")
        wanted = set(self._inputs["ranker"])
        arrays = _arrays(rows.items)
        arrays |= {"item_vectors": rows.item_vectors, "user_vectors": rows.user_vectors}
        arrays["features"] = np.ascontiguousarray(rows.features[:, self._columns])
        for name, value in _arrays(rows.user).items():
            if name in wanted:
                arrays[name] = np.repeat(value, n, axis=0)
        return arrays

    async def unload(self) -> None:
        self._sessions.clear()

    async def _call(self, model: str, arrays: dict[str, NDArray[Any]], n: int) -> Floats:
        return await anyio.to_thread.run_sync(self._run, model, arrays, n, limiter=self._threads)

    def _run(self, model: str, arrays: Mapping[str, NDArray[Any]], n: int) -> Floats:
        session = self._sessions.get(model)
        if session is None:
            raise ModelRefused(f"version {self._manifest.version} is unloaded")
        width = self._width(model)
        if n == 0:
            return np.zeros((0, width), np.float32)
        shapes = self._shapes()
        feed = {name: arrays[name] for name in self._inputs[model]}
        for name, value in feed.items():
            if value.shape != (n, *shapes[name][1]):
                raise ValueError(f"{name}: want {[n, *shapes[name][1]]}, got {list(value.shape)}")
        answer = np.asarray(session.run(None, feed)[0], np.float32)
        if answer.shape != (n, width) or not np.isfinite(answer).all():
            raise ModelRefused(
                f"version {self._manifest.version}: {model} answers what is not finite, or of wrong shape"
            )
        return answer

    def _shapes(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        features = {"features": ("float32", (len(self._columns),))}
        return input_shapes(self._manifest.dimensions) | features

    def _width(self, model: str) -> int:
        return len(self._manifest.objectives) if model == "ranker" else self._manifest.dimensions

    def check_signature(self, folder: Path, model: str) -> None:
        """Raise ModelRefused unless the model's inputs and output are what the layout and the manifest say."""
        path, session, shapes = folder / model / "1" / "model.onnx", self._sessions[model], self._shapes()
        for value in session.get_inputs():
            if value.name not in ALLOWED_INPUTS[model]:
                raise ModelRefused(f"{path}: there is no input {value.name}; see rank_svc/scorers/store.py")
            kind, shape = shapes[value.name]
            if _TYPES.get(value.type) != kind or not _fits(value.shape, shape):
                wanted = f"{kind} [batch{''.join(f', {n}' for n in shape)}]"
                raise ModelRefused(f"{path}: input {value.name} is {value.type} {value.shape}, must be {wanted}")
        outputs = session.get_outputs()
        names, width = [value.name for value in outputs], self._width(model)
        if names != [OUTPUTS[model]] or not _fits(outputs[0].shape, (width,)):
            found = [(value.name, value.shape) for value in outputs]
            raise ModelRefused(f"{path}: output must be {OUTPUTS[model]} [batch, {width}], is {found}")

    def try_out(self, folder: Path) -> None:
        """Raise ModelRefused unless every model answers a few rows sensibly."""
        d = self._manifest.dimensions
        items = encode_items(trial_videos())
        n = len(items.item_ids)
        try:
            vectors = self._run("item_tower", _arrays(items), n)
            viewers = [ViewerRow(1, trial_history(), ("trial",)), ViewerRow(0)]
            known = dict(zip(items.item_ids.tolist(), vectors, strict=True))

            def lookup(ids: Any) -> tuple[Floats, NDArray[np.bool_]]:
                found = np.array([known.get(i, np.zeros(d, np.float32)) for i in ids], np.float32).reshape(len(ids), d)
                return found, np.ones(len(ids), np.bool_)

            users = encode_users(viewers, 0, lookup, lambda _: ("trial",), d)
            taste = self._run("user_tower", _arrays(users), 2)
            one = UserBatch(**{name: value[:1] for name, value in _arrays(users).items()})
            for fill in (0.0, 1.0):
                features = np.full((n, len(RANK_FEATURES)), fill, np.float32)
                rows = RankRows(features, items, one, vectors, np.repeat(taste[:1], n, axis=0))
                predicted = self._run("ranker", self._rank_arrays(rows, n), n)
                self._check_predictions(folder, predicted)
        except ModelRefused as error:
            raise ModelRefused(f"{folder}: tried on a few rows: {error}") from error
        except Exception as error:
            raise ModelRefused(f"{folder}: fails on a few rows: {str(error)[:300]}") from error

    def _check_predictions(self, folder: Path, predicted: Floats) -> None:
        for i, name in enumerate(self._manifest.objectives):
            low, high = float(predicted[:, i].min()), float(predicted[:, i].max())
            if low < -1e-4 or (name != "watch_ms" and high > 1 + 1e-4):
                raise ModelRefused(f"{folder}: ranker predicts {name} from {low:.3g} to {high:.3g}")


def _arrays(batch: ItemBatch | UserBatch) -> dict[str, NDArray[Any]]:
    return {f.name: getattr(batch, f.name) for f in fields(batch)}


def _fits(declared: list[Any], shape: tuple[int, ...]) -> bool:
    """Whether a declared shape is a free batch dimension and then `shape`; a named dimension fits any."""
    if len(declared) != len(shape) + 1 or isinstance(declared[0], int):
        return False
    return all(not isinstance(d, int) or d == n for d, n in zip(declared[1:], shape, strict=True))
