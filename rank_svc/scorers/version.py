"""A loaded version: what every engine of model serving shares. An engine only runs a model on arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rank_svc.scorers.encoding import ViewerRow, encode_items, encode_users
from rank_svc.scorers.layout import ALLOWED_INPUTS, OUTPUTS, Manifest, input_shapes
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
from svc_kit.errors import AppError

Arrays = dict[str, NDArray[Any]]


class LoadedModels(Protocol):
    """The three models of one version, as an engine holds them."""

    @property
    def inputs(self) -> Mapping[str, Sequence[str]]:
        """By model, the names of the arrays that it takes."""
        ...

    async def run(self, model: str, feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """What the model answers for one batch of at least one row, whose arrays have the declared shapes. Raises
        `ModelRefused` when it can't, UNAVAILABLE when it can't now."""
        ...

    async def release(self) -> None:
        """Release the models' memory. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Declared:
    """One input or output as a model declares it."""

    name: str
    type: str
    """`int64`, `float32`, or what else it is."""
    shape: tuple[int | None, ...] | None
    """Without the batch, None for a free dimension; None: rows are not its first dimension."""
    shown: str
    """For messages."""

    def fits(self, kind: str, shape: tuple[int, ...]) -> bool:
        """Whether rows of this type and shape can go in or out."""
        if self.type != kind or self.shape is None or len(self.shape) != len(shape):
            return False
        return all(d is None or d == n for d, n in zip(self.shape, shape, strict=True))


def check_signature(
    path: Path, manifest: Manifest, model: str, inputs: Sequence[Declared], outputs: Sequence[Declared]
) -> None:
    """Raise ModelRefused unless inputs and output are what the layout and the manifest say. `path`: what declares
    them."""
    shapes, width = array_shapes(manifest), _width(manifest, model)
    for value in inputs:
        if value.name not in ALLOWED_INPUTS[model]:
            raise ModelRefused(f"{path}: there is no input {value.name}; see rank_svc/scorers/store.py")
        kind, shape = shapes[value.name]
        if not value.fits(kind, shape):
            wanted = f"{kind} [batch{''.join(f', {n}' for n in shape)}]"
            raise ModelRefused(f"{path}: input {value.name} is {value.shown}, must be {wanted}")
    if [value.name for value in outputs] != [OUTPUTS[model]] or not outputs[0].fits("float32", (width,)):
        found = ", ".join(f"{value.name} {value.shown}" for value in outputs)
        raise ModelRefused(f"{path}: output must be {OUTPUTS[model]} [batch, {width}], is {found}")


class VersionScorer:
    """`Scorer` over the models of one version."""

    def __init__(self, manifest: Manifest, models: LoadedModels) -> None:
        self._manifest = manifest
        self._models = models
        self._unloaded = False
        self._columns = [RANK_FEATURES.index(name) for name in manifest.ranker_features]
        self._declared = array_shapes(manifest)

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

    def _rank_arrays(self, rows: RankRows, n: int) -> Arrays:
        if rows.features.shape[1:] != (len(RANK_FEATURES),):
            raise ValueError(f"features: want [n, {len(RANK_FEATURES)}], got {list(rows.features.shape)}")
        wanted = set(self._models.inputs["ranker"])
        arrays = _arrays(rows.items)
        arrays |= {"item_vectors": rows.item_vectors, "user_vectors": rows.user_vectors}
        arrays["features"] = np.ascontiguousarray(rows.features[:, self._columns])
        for name, value in _arrays(rows.user).items():
            if name in wanted:
                arrays[name] = np.repeat(value, n, axis=0)
        return arrays

    async def unload(self) -> None:
        self._unloaded = True
        await self._models.release()

    async def _call(self, model: str, arrays: Arrays, n: int) -> Floats:
        version, width = self._manifest.version, _width(self._manifest, model)
        if self._unloaded:
            raise ModelRefused(f"version {version} is unloaded")
        if n == 0:
            return np.zeros((0, width), np.float32)
        feed = {name: arrays[name] for name in self._models.inputs[model]}
        for name, value in feed.items():
            shape = (n, *self._declared[name][1])
            if value.shape != shape:
                raise ValueError(f"{name}: want {list(shape)}, got {list(value.shape)}")
        answer = np.asarray(await self._models.run(model, feed), np.float32)
        if answer.shape != (n, width) or not np.isfinite(answer).all():
            raise ModelRefused(f"version {version}: {model} answers what is not finite, or of wrong shape")
        return answer

    async def try_out(self, folder: Path) -> None:
        """Raise ModelRefused unless every model answers a few rows sensibly; UNAVAILABLE when that can't be told."""
        try:
            for predicted in await self._trial():
                self._check_predictions(folder, predicted)
        except ModelRefused as error:
            raise ModelRefused(f"{folder}: tried on a few rows: {error}") from error
        except AppError:
            raise
        except Exception as error:
            raise ModelRefused(f"{folder}: fails on a few rows: {str(error)[:300]}") from error

    async def _trial(self) -> list[Predictions]:
        d = self._manifest.dimensions
        items = encode_items(trial_videos())
        n = len(items.item_ids)
        vectors = await self.item_vectors(items)
        known = dict(zip(items.item_ids.tolist(), vectors, strict=True))

        def lookup(ids: Any) -> tuple[Floats, NDArray[np.bool_]]:
            found = np.array([known.get(i, np.zeros(d, np.float32)) for i in ids], np.float32).reshape(len(ids), d)
            return found, np.ones(len(ids), np.bool_)

        viewers = [ViewerRow(1, trial_history(), ("trial",)), ViewerRow(0)]
        users = encode_users(viewers, 0, lookup, lambda _: ("trial",), d)
        taste = await self.user_vectors(users)
        one = UserBatch(**{name: value[:1] for name, value in _arrays(users).items()})
        predicted = []
        for fill in (0.0, 1.0):
            features = np.full((n, len(RANK_FEATURES)), fill, np.float32)
            predicted.append(await self.rank(RankRows(features, items, one, vectors, np.repeat(taste[:1], n, axis=0))))
        return predicted

    def _check_predictions(self, folder: Path, predicted: Predictions) -> None:
        for name, values in predicted.values.items():
            low, high = float(values.min()), float(values.max())
            if low < -1e-4 or (name != "watch_ms" and high > 1 + 1e-4):
                raise ModelRefused(f"{folder}: ranker predicts {name} from {low:.3g} to {high:.3g}")


def _arrays(batch: ItemBatch | UserBatch) -> Arrays:
    return {f.name: getattr(batch, f.name) for f in fields(batch)}


def array_shapes(manifest: Manifest) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Every array that this version's models may take: (type, shape without the batch)."""
    features = {"features": ("float32", (len(manifest.ranker_features),))}
    return input_shapes(manifest.dimensions) | features


def _width(manifest: Manifest, model: str) -> int:
    return len(manifest.objectives) if model == "ranker" else manifest.dimensions
