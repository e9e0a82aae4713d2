"""Learning to rank from impressions: two rankers on the same rows, the better one calibrated and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rank_svc.scorers.store import HISTORY, RANK_FEATURES, Floats
from rank_svc.train.batches import material
from rank_svc.train.columns import MAX_ID, NO_TIME
from rank_svc.train.dataset import Dataset, Events, Ints
from rank_svc.train.derive import Derive, Source, WatchTime, watch_quantiles, watch_tables
from rank_svc.train.fit import Fitted
from rank_svc.train.gbdt import Trees, fit_trees
from rank_svc.train.histories import Histories
from rank_svc.train.impressions import replay, usable
from rank_svc.train.judged import judge
from rank_svc.train.neural_ranker import Network, fit_network
from rank_svc.train.rank_export import write_ranker
from rank_svc.train.rank_heads import COLUMNS, HEADS, Answer, calibrate
from rank_svc.train.served import content

LATE, LAST = 0.7, 0.8
"""By time: rows up to LATE are learned from, up to LAST stop and calibrate, the rest is measured on."""
CRITERIA = ("auc long_view", "auc completion", "gauc long_view", "xauc watch_ms")
"""The ranker with the greater mean of these is better."""


class LearnedRanker:
    """See `rank_svc.train.version.Ranker`."""

    def __init__(self, derive: Derive, kept: Trees | Network, answer: Answer, metrics: Mapping[str, Any]) -> None:
        self._derive, self._kept, self._answer, self._metrics = derive, kept, answer, metrics

    @property
    def features(self) -> Sequence[str]:
        return self._derive.names

    @property
    def objectives(self) -> Sequence[str]:
        return COLUMNS

    @property
    def metrics(self) -> Mapping[str, Any]:
        return self._metrics

    def write(self, folder: Path, dimensions: int) -> None:
        write_ranker(folder, dimensions, self._derive, self._kept, self._answer)


def fit_ranker(
    dataset: Dataset, histories: Histories, fitted: Fitted, vectors: Floats, *, seed: int
) -> LearnedRanker | None:
    """The better of both rankers, or None where the impressions say too little."""
    if not usable(_placed(dataset)):
        return None
    known = content(dataset.catalogue, dataset.items)
    rows, timeline = replay(dataset, histories, known)
    earlier = histories.where(histories.times_ms < rows.times_ms.min(initial=MAX_ID))
    users = _users(rows.user_ids, earlier, fitted)
    source = Source(rows, timeline, (), vectors, users)
    names = _varying(rows.features)
    source = Source(rows, timeline, names, vectors, users)
    derive = Derive(names)
    train, late, last = _split(len(rows))
    tables = watch_tables(rows.duration_ms[train], rows.watched_ms[train])
    quantiles = watch_quantiles(tables, rows.duration_ms, rows.watched_ms)
    derived = source.derived(derive, HISTORY)
    before = np.concatenate([train, late])
    labels = {name: column[before] for name, column in rows.labels.items()}
    trees = fit_trees(derived[before], labels, quantiles[before], np.arange(len(before)) >= len(train), seed=seed)
    targets = np.stack([rows.labels.get(n, quantiles) for n in HEADS], 1).astype(np.float32)
    network = fit_network(source, derive, derived, targets, train, late, seed=seed)
    found: dict[str, tuple[Trees | Network, Answer, dict[str, float | None]]] = {}
    for name, ranker in (("gbdt", trees), ("neural", network)):
        held, asked = (_logits(ranker, source, derived, at) for at in (late, last))
        scale, shift = calibrate(held, {n: c[late] for n, c in rows.labels.items()})
        answer = Answer(scale, shift, WatchTime(tables), derive.duration)
        with torch.no_grad():
            predicted = answer(torch.from_numpy(asked), source.arrays(last, 1)[0]).numpy()
        columns = {n: predicted[:, i] for i, n in enumerate(COLUMNS)}
        truth = {n: c[last] for n, c in rows.labels.items()}
        found[name] = (ranker, answer, judge(rows.users[last], truth, rows.watched_ms[last], columns))
    best = max(found, key=lambda name: sum(found[name][2][c] or 0.0 for c in CRITERIA))
    kept, answer, _ = found[best]
    metrics = {"kind": best, "rows": {"train": len(train), "calibrate": len(late), "measured": len(last)}}
    return LearnedRanker(derive, kept, answer, metrics | {name: told for name, (_, _, told) in found.items()})


def _placed(dataset: Dataset) -> Events | None:
    """The impressions that become rows: of items that there are, at a known time."""
    events = dataset.impressions
    if events is None or "timestamp_ms" not in events.wholes:
        return None
    known = np.isin(events.item_ids, dataset.catalogue)
    return events.where(known & (events.wholes["timestamp_ms"] != NO_TIME))


def _split(n: int) -> tuple[Ints, Ints, Ints]:
    rows = np.arange(n)
    return rows[: int(n * LATE)], rows[int(n * LATE) : int(n * LAST)], rows[int(n * LAST) :]


def _varying(features: Floats) -> tuple[str, ...]:
    """Names of columns that say anything here, and the length, which the rest is built on."""
    moves = features.std(0) > 1e-6
    return tuple(n for i, n in enumerate(RANK_FEATURES) if moves[i] or n == "duration_log")


def _users(user_ids: Ints, histories: Histories, fitted: Fitted) -> Floats:
    """[users, d] as they were before the first impression; the prior for those without a history."""
    model = fitted.model
    has = np.bincount(histories.owner[histories.positive], minlength=len(histories.users)) > 0
    with torch.no_grad():
        found = np.tile(model.prior(), (len(user_ids), 1))
        known = histories.users[has]
        at = np.flatnonzero(np.isin(user_ids, known))
        place = np.searchsorted(known, user_ids[at])
        source = material(histories, fitted.catalogue, model.options)
        for start in range(0, len(at), 256):
            part = slice(start, start + 256)
            found[at[part]] = model.vectors(source, place[part]).numpy()
    return found


def _logits(ranker: Trees | Network, source: Source, derived: Floats, at: Ints) -> Floats:
    return ranker.logits(derived[at]) if isinstance(ranker, Trees) else ranker.logits(source, derived, at)
