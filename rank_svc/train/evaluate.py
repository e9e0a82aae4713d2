"""Measuring a version, and baselines beside it, by the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from rank_svc.scorers.layout import read_manifest
from rank_svc.scorers.store import Floats
from rank_svc.train import baselines as rivals
from rank_svc.train.cold import from_others
from rank_svc.train.dataset import Dataset, Ints
from rank_svc.train.histories import Histories, build, item_codes
from rank_svc.train.metrics import Scorer, Scores, measure
from rank_svc.train.protocol import question
from rank_svc.train.served import Content, content, viewers

ROWS = 256


class Towers:
    """Both towers of a version, in this process. Raises ModelRefused for a folder that is no whole version."""

    def __init__(self, folder: Path) -> None:
        self.manifest = read_manifest(folder)
        self._user, self._item = (_session(folder / name / "1" / "model.onnx") for name in ("user_tower", "item_tower"))

    def items(self, ids: Ints, known: Content, *, cold: bool = False) -> Floats:
        """[n, d] of a catalogue; `cold`: as if the ids were new."""
        blocks = []
        for start in range(0, len(ids), ROWS):
            rows = np.arange(start, min(start + ROWS, len(ids)))
            batch = known.batch(ids[rows], rows)
            feed = {v.name: getattr(batch, v.name) for v in self._item.get_inputs()}
            if cold and "item_ids" in feed:
                feed["item_ids"] = np.zeros_like(feed["item_ids"])
            blocks.append(self._item.run(None, feed)[0])
        return np.concatenate(blocks).astype(np.float32)

    def users(
        self, histories: Histories, asked: Ints, now_ms: int, ids: Ints, known: Content, vectors: Floats
    ) -> Floats:
        """[n, d] of users by index."""
        blocks = []
        for start in range(0, len(asked), ROWS):
            batch = viewers(histories, asked[start : start + ROWS], now_ms, ids, known, vectors)
            blocks.append(self._user.run(None, {v.name: getattr(batch, v.name) for v in self._user.get_inputs()})[0])
        return np.concatenate(blocks).astype(np.float32)


def _session(path: Path) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def version_scorer(
    folder: Path,
    dataset: Dataset,
    histories: Histories,
    *,
    ranked: Callable[[Towers, Content, Floats], Floats] | None = None,
) -> Scorer:
    """A version as a scorer over the dataset's catalogue. `ranked`: what to rank in place of the items' vectors."""
    towers, ids = Towers(folder), dataset.catalogue
    known = content(ids, dataset.items)
    vectors = towers.items(ids, known)
    other = vectors if ranked is None else ranked(towers, known, vectors)

    def score(users: Ints) -> Scores:
        return towers.users(histories, users, histories.end_ms, ids, known, vectors) @ other.T

    return score


def _coldly(folder: Path, dataset: Dataset, histories: Histories) -> dict[str, Scorer]:
    """The version with items as the item tower sees them without their ids, and as it would had it not met them."""
    ids = dataset.catalogue
    codes = item_codes(ids, histories.items[histories.positive])
    frequency = np.bincount(codes, minlength=len(ids)).astype(np.float32)
    return {
        "without ids": version_scorer(
            folder, dataset, histories, ranked=lambda towers, known, _: towers.items(ids, known, cold=True)
        ),
        "new items": version_scorer(
            folder, dataset, histories, ranked=lambda _, known, vectors: from_others(known, vectors, frequency)
        ),
    }


def evaluate(
    model: Path | None,
    dataset: Dataset,
    truth: tuple[Ints, Ints],
    ks: Sequence[int],
    *,
    with_baselines: bool = False,
    ablate: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Metrics of the version, and by name under `baselines` and `ablations` where these are asked for.

    `ablate`: versions trained without something, by what they lack; the version without ids and new items are
    always among them.
    """
    histories = build(dataset.interactions)
    asked = question(dataset, histories, truth)
    found: dict[str, Any] = {"users": len(asked.users), "items": asked.items}
    if model is not None:
        found |= measure(asked, version_scorer(model, dataset, histories), ks)
    if with_baselines:
        fitted = rivals.baselines(histories, dataset.catalogue)
        found["baselines"] = {name: measure(asked, scorer, ks) for name, scorer in fitted}
    if ablate is not None and model is not None:
        cold = _coldly(model, dataset, histories)
        found["ablations"] = {name: measure(asked, scorer, ks) for name, scorer in cold.items()}
        for name, folder in ablate.items():
            found["ablations"][name] = measure(asked, version_scorer(folder, dataset, histories), ks)
    return found
