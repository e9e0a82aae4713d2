"""The same training without one thing, to see what it is worth."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rank_svc.train.dataset import Dataset
from rank_svc.train.options import TowerOptions
from rank_svc.train.pipeline import train
from rank_svc.train.version import METRICS


@contextmanager
def ablated(model: Path, dataset: Dataset) -> Iterator[Mapping[str, Path]]:
    """Versions trained like `model`, as many steps as it took, but without logQ and without history, by name; removed
    afterwards."""
    told = json.loads((model / METRICS).read_text(encoding="utf-8"))["retrieval"]
    options = as_trained(TowerOptions(**told["options"]), told["steps"])
    without = {"without logQ": replace(options, logq=False), "without history": replace(options, history=False)}
    with tempfile.TemporaryDirectory(prefix="reelgraph-ablate-") as place:
        found = {}
        for name, less in without.items():
            found[name] = Path(place) / name.replace(" ", "-")
            train(dataset, found[name], less, seed=told["seed"], ranking=False)
        yield found


def as_trained(options: TowerOptions, steps: int) -> TowerOptions:
    """`options` for as long a training as took `steps` of all networks together: time or early stopping may have
    ended it before its plan."""
    return replace(options, steps=max(1, steps // max(1, options.members + options.around_members)))
