"""Writing one version: everything that serves and everything that tells of it, whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import anyio
import numpy as np
import onnx
import onnx.numpy_helper
from usearch.index import Index

from rank_svc.scorers.layout import MAX_DIMENSIONS, MODELS, Manifest, digests, read_manifest, write_manifest
from rank_svc.scorers.store import HISTORY, Floats, ModelRefused
from rank_svc.scorers.stores import onnxruntime as served_by
from rank_svc.train.dataset import Dataset, Ints
from rank_svc.train.export import dimensions_of, write_towers
from rank_svc.train.fit import Fitted
from rank_svc.train.folders import whole_or_not
from rank_svc.train.histories import Histories
from rank_svc.train.served import AUTHOR_COLUMNS, LANGUAGE_COLUMNS, TAG_COLUMNS, ZERO, content

VECTORS, INDEX, VOCABULARY, METRICS, CARD = (
    "item_vectors.npz",
    "items.usearch",
    "vocabulary.json",
    "metrics.json",
    "MODEL_CARD.md",
)
KIND = "trained"


class Ranker(Protocol):
    """What writes the ranker into a version."""

    @property
    def features(self) -> Sequence[str]:
        """Columns of RANK_FEATURES that it takes."""
        ...

    @property
    def objectives(self) -> Sequence[str]:
        """Columns of its output."""
        ...

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What it was worth on rows that it was not trained on."""
        ...

    def write(self, folder: Path, dimensions: int) -> None:
        """Write `ranker/` into a version's folder."""
        ...


@dataclass(frozen=True, slots=True)
class Trained:
    """All that goes into a version."""

    dataset: Dataset
    histories: Histories
    fitted: Fitted
    ranker: Ranker
    seed: int


def write_version(out: Path, trained: Trained) -> Manifest:
    """Write the folder `out` by renaming it into place; a former version there is replaced once the new one has been
    checked: what `check` finds raises ValueError and leaves the former as it is."""
    catalogue, dimensions = trained.dataset.catalogue, dimensions_of(trained.fitted)
    if dimensions > MAX_DIMENSIONS:
        raise ValueError(f"width + bag + 1 is {dimensions}; at most {MAX_DIMENSIONS} is served")
    with whole_or_not(out) as folder:
        vectors = write_towers(folder, trained.fitted, catalogue, content(catalogue, trained.dataset.items))
        trained.ranker.write(folder, dimensions)
        digest = _digest(folder)
        _write_vectors(folder, catalogue, vectors)
        metrics = _metrics(trained)
        vocabulary = _vocabulary(trained.dataset)
        manifest = Manifest(
            version=f"{KIND}-{trained.seed}-{digest}",
            kind=KIND,
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            dimensions=dimensions,
            least_similarity=_least_similarity(trained, vectors),
            ranker_features=tuple(trained.ranker.features),
            objectives=tuple(trained.ranker.objectives),
            vocabulary=vocabulary,
            normalisation={
                "vectors": "none: the last dimension is the item's bias",
                "features": "inside",
            },
            files={},
        )
        _write_json(folder / METRICS, metrics)
        _write_json(folder / VOCABULARY, vocabulary)
        (folder / CARD).write_text(_card(manifest, trained, metrics), encoding="utf-8")
        write_manifest(folder, manifest)
        try:
            check(folder, vectors)
        except ModelRefused as error:
            # The folder that it names is gone by then.
            raise ValueError(f"the version is not kept: {str(error).replace(str(folder), str(out))}") from error
    return read_manifest(out)


def _write_vectors(folder: Path, catalogue: Ints, vectors: Floats) -> None:
    np.savez(folder / VECTORS, ids=catalogue, vectors=vectors)
    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16")
    index.add(catalogue, vectors, threads=1)
    index.save(str(folder / INDEX))


def _digest(folder: Path) -> str:
    """Of all three models: what answers differently has another name."""
    return hashlib.sha256(json.dumps(digests(folder), sort_keys=True).encode()).hexdigest()[:12]


def _least_similarity(trained: Trained, vectors: Floats, users: int = 200) -> float:
    """The score that one video in twenty is above for its viewer: less is not taste but chance."""
    if not trained.fitted.source.users:
        return 0.0
    import torch

    asked = np.arange(min(users, trained.fitted.source.users))
    with torch.no_grad():
        found = trained.fitted.model.vectors(trained.fitted.source, asked).numpy()
    return float(np.quantile(found @ vectors.T, 0.95))


def _metrics(trained: Trained) -> dict[str, Any]:
    fitted = trained.fitted
    return {
        "retrieval": {
            "options": asdict(fitted.model.options),
            "seed": trained.seed,
            "steps": fitted.steps,
            "cpu_seconds": round(fitted.cpu_seconds, 1),
            "held_out_recall@50": [{"step": step, "value": round(value, 5)} for step, value in fitted.looks],
            "loss": [{"step": step, "value": round(value, 4)} for step, value in fitted.losses],
        },
        "ranker": dict(trained.ranker.metrics),
        "data": {
            "users": len(trained.histories.users),
            "items": len(trained.dataset.catalogue),
            "interactions": len(trained.histories.items),
            "positives": int(trained.histories.positive.sum()),
            "newest_ms": trained.histories.end_ms,
            "ordered": trained.histories.ordered,
            "notes": list(trained.dataset.notes),
        },
    }


def _vocabulary(dataset: Dataset) -> dict[str, Any]:
    categories = list(dataset.items.categories)

    def first(names: Sequence[str]) -> list[str]:
        return [name for name in names if name in categories]

    tags = first(TAG_COLUMNS)
    authors, languages = first(AUTHOR_COLUMNS)[:1], first(LANGUAGE_COLUMNS)[:1]
    rest = [name for name in categories if name not in {*tags, *AUTHOR_COLUMNS, *LANGUAGE_COLUMNS}]
    return {
        "items": {"known": len(dataset.catalogue), "by": "LabelEncoder in the models; others by content", "0": ZERO},
        "authors": {"columns": authors},
        "languages": {"columns": languages},
        "tags": {"columns": tags, "by": "token(value)"},
        "words": {"columns": rest, "by": "token('column=value'), in the slots of tags"},
        "history": {"longest": HISTORY, "order": "newest first"},
    }


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _card(manifest: Manifest, trained: Trained, metrics: Mapping[str, Any]) -> str:
    data, retrieval = metrics["data"], metrics["retrieval"]
    best = max((look["value"] for look in retrieval["held_out_recall@50"]), default=None)
    lines = [
        f"# {manifest.version}",
        "",
        f"Two towers of {manifest.dimensions} dimensions and a ranker, trained {manifest.created} with seed "
        f"{trained.seed}: {retrieval['steps']} steps in {retrieval['cpu_seconds']} CPU seconds.",
        "",
        f"- Data: {data['interactions']} interactions of {data['users']} users with {data['items']} items, "
        f"{data['positives']} positive; {'ordered' if data['ordered'] else 'without an order'}.",
        f"- Recall@50 on the newest rows of a few held-out users, which chose the moment to stop: {best}. It flatters: "
        "`reelgraph eval` with a truth from later is what counts.",
        f"- Ranker: {metrics['ranker'].get('kind', 'fixed')}; objectives {', '.join(manifest.objectives)}.",
        "- Items that were not in the data get a vector from author, tags, language and other categories alone.",
        "- What it learned is what was watched under the feed of its time; it repeats that feed's preferences, and "
        "says nothing of people who left. Not for anything but ranking short videos.",
        "",
        "metrics.json has every figure, version.json the digest of every file.",
        "",
    ]
    return "\n".join(lines)


def check_fitted(fitted: Fitted) -> None:
    """Raise ValueError where training ran away: nothing can be made of weights that are no numbers."""
    import torch

    weights = [value for value in fitted.model.state_dict().values() if value.is_floating_point()]
    if not all(bool(torch.isfinite(value).all()) for value in weights):
        rate = fitted.model.options.rate
        raise ValueError(f"training diverged: its weights are not finite; a lower --option rate than {rate:g} may help")


def check(folder: Path, vectors: Floats) -> None:
    """Raise ModelRefused unless a version's folder is whole, its numbers are finite, also as the index keeps them, and
    its models load and answer as they will have to where they serve."""
    read_manifest(folder)
    with np.errstate(over="ignore"):
        if not np.isfinite(vectors.astype(np.float16)).all():
            raise ModelRefused(f"{folder / VECTORS}: has numbers that are not finite, or beyond what the index keeps")
    for name in MODELS:
        _check_weights(folder / name / "1" / "model.onnx")

    async def load(place: Path) -> None:
        models = served_by.FileModels(place, anyio.CapacityLimiter(1))
        scorer = await models.load(await models.wanted())
        await scorer.unload()
        await models.close()

    # In a thread of its own: whoever trains may be inside of an event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, load, folder).result()


def _check_weights(path: Path) -> None:
    for weight in onnx.load(path).graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModelRefused(f"{path}: its weight {weight.name} is not finite")
