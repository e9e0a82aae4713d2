"""One number of many predictions: what showing a video is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rank_svc.scorers.store import Floats, Predictions
from rank_svc.settings import RankSettings
from svc_kit.errors import invalid

NAMES = ("like", "comment", "share", "completion", "watch", "negative", "affinity")
"""Of the weights."""


def weighted(settings: RankSettings, weights: Mapping[str, float]) -> RankSettings:
    """The settings with other weights. Raises BAD_USER_INPUT for an unknown name or a weight that is no number."""
    for name, weight in weights.items():
        if name not in NAMES:
            raise invalid("weights", f"weights has {name}; valid: {', '.join(NAMES)}.")
        if not math.isfinite(weight):
            raise invalid("weights", f"weights has {name} = {weight}; it must be a number.")
    if not weights:
        return settings
    return settings.model_copy(update={f"weight_{name}": weight for name, weight in weights.items()})


def value(
    predictions: Predictions,
    affinity: Floats,
    typical_watch_ms: Floats,
    typical_completion: Floats,
    settings: RankSettings,
) -> Floats:
    """[n] sum of weight * prediction. Completion and watch time count against what is typical for the length: t / (t +
    typical), 0 to 1, one half for a typical one; so a short clip does not win by being short."""
    p = predictions.values
    total = (
        settings.weight_like * p["like"]
        + settings.weight_comment * p["comment"]
        + settings.weight_share * p["share"]
        + settings.weight_completion * _against(p["completion"], typical_completion)
        + settings.weight_watch * _against(p["watch_ms"], typical_watch_ms)
        + settings.weight_negative * p["negative"]
        + settings.weight_affinity * affinity
    )
    return np.asarray(total, np.float32)


def _against(predicted: Floats, typical: Floats) -> NDArray[np.float32]:
    return np.asarray(predicted / np.maximum(predicted + typical, 1e-6), np.float32)
