"""From a dataset folder to a version's folder."""

from __future__ import annotations

from pathlib import Path

import torch

from rank_svc.scorers.layout import MANIFEST, Manifest
from rank_svc.train.dataset import Dataset
from rank_svc.train.export import item_table
from rank_svc.train.fit import Progress, fit
from rank_svc.train.fixed_ranker import FixedRanker
from rank_svc.train.folders import check_out
from rank_svc.train.histories import build
from rank_svc.train.options import TowerOptions
from rank_svc.train.rank_fit import fit_ranker
from rank_svc.train.version import Ranker, Trained, check_fitted, write_version


def train(
    dataset: Dataset,
    out: Path,
    options: TowerOptions,
    *,
    seed: int = 0,
    minutes: float | None = None,
    threads: int = 1,
    ranking: bool = True,
    progress: Progress | None = None,
) -> Manifest:
    """Train towers and ranker and write one version. A broken-off run leaves `.OUT.checkpoint` beside `out`, from which
    the same command goes on. `ranking`: False ships the fixed ranker."""
    check_out(out, MANIFEST, dataset.folder)
    torch.set_num_threads(threads)
    histories = build(dataset.interactions, seed=seed)
    checkpoint = out.with_name(f".{out.name}.checkpoint")
    fitted = fit(
        histories,
        dataset.catalogue,
        options,
        seed=seed,
        minutes=minutes,
        checkpoint=checkpoint,
        progress=progress,
    )
    check_fitted(fitted)
    learned = fit_ranker(dataset, histories, fitted, item_table(fitted), seed=seed) if ranking else None
    ranker: Ranker = learned or FixedRanker()
    return write_version(out, Trained(dataset, histories, fitted, ranker, seed))
