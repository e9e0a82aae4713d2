"""Which linear part stands beside the networks, and with what weight: by held-out users, where they can tell.

What the options say was chosen on one log of short videos. Others differ most in how much items alone say of each
other, in how much age matters, and in how few rows there are; a few hundred users tell such differences, smaller ones
they don't, and then the options stay.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from rank_svc.train.batches import Material
from rank_svc.train.combined import Combined
from rank_svc.train.held import Held
from rank_svc.train.linear import RIDGE, Linear, fit_linear
from rank_svc.train.metrics import Scores, best
from rank_svc.train.options import LINEAR_FITS, LINEAR_WEIGHTS, TowerOptions

SMALL_ROWS = 500_000
"""Up to so many rows other ridges and no decay by age are tried too."""
SURE_ERRORS = 2.0
"""Standard errors of the difference, paired by user, by which another choice has to be better."""
AT = 50
Values = NDArray[np.float64]


def choose(
    model: Combined, source: Material, held: Held, options: TowerOptions, seed: int, *, unlike: bool
) -> dict[str, float]:
    """Give `model` the linear part and the weight that held-out users rank best by; says which, empty where the
    options stay unasked. `unlike`: the log is longer than the one that the options were chosen on."""
    scale, default = model.linear_scale, options.linear_weight
    if not (options.choose and options.linear and held.usable and scale > 0 and default > 0):
        return {}
    fits = [(RIDGE, options.linear_days)]
    if unlike or len(source.rows) <= SMALL_ROWS:
        fits += LINEAR_FITS[1:]
    first = Linear(model.left.detach().numpy(), model.right.detach().numpy())
    weights = [default, *(w for w in LINEAR_WEIGHTS if w != default)]
    parts: list[Linear] = []
    values: list[Values] = []
    for ridge, days in fits:
        parts.append(fit_linear(source, replace(options, linear_days=days), seed=seed, ridge=ridge) if parts else first)
        model.put(parts[-1])
        values += _values(model, held, [scale * w / default for w in weights])
    chosen = surest(np.array(values))
    fit, weight = divmod(chosen, len(weights))
    model.put(parts[fit])
    model.linear_scale = scale * weights[weight] / default
    return {
        "linear_weight": weights[weight],
        "linear_ridge": fits[fit][0],
        "linear_days": fits[fit][1],
        "value": float(np.mean(values[chosen])),
        "default_value": float(np.mean(values[0])),
    }


def surest(values: Values) -> int:
    """[choices, users] -> the best choice of those that beat the first by more than noise; 0 where none does."""
    gain = values - values[0]
    error = gain.std(1) / max(values.shape[1], 1) ** 0.5
    sure = gain.mean(1) > SURE_ERRORS * error
    return int(np.argmax(np.where(sure, gain.mean(1), 0.0)))


def _values(model: Combined, held: Held, scales: list[float]) -> list[Values]:
    """By scale, [users] the mean of recall and NDCG at AT of what was held out."""
    assert held.asked is not None
    found: list[list[Values]] = [[] for _ in scales]
    with torch.no_grad():
        items = model.items()[1:].T
        for start in range(0, held.asked.users, 256):
            users = np.arange(start, min(start + 256, held.asked.users))
            model.linear_scale = 0.0
            networks = (model.vectors(held.asked, users) @ items).numpy()
            model.linear_scale = 1.0
            linear = (model.vectors(held.asked, users) @ items).numpy() - networks
            for i, user in enumerate(users):
                networks[i, held.seen[user]] = -np.inf
            for into, scale in zip(found, scales, strict=True):
                into.append(_worth(networks + scale * linear, held, users))
    return [np.concatenate(parts) for parts in found]


def _worth(scores: Scores, held: Held, users: NDArray[np.int64]) -> Values:
    top = best(scores, AT)
    discount = 1 / np.log2(np.arange(top.shape[1]) + 2)
    values = np.zeros(len(users))
    for i, user in enumerate(users):
        hits = np.isin(top[i], held.right[user])
        count = len(held.right[user])
        values[i] = (hits.sum() / count + (hits @ discount) / discount[:count].sum()) / 2
    return values
