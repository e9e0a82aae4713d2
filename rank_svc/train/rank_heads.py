"""From logits to predictions: calibrated, with watch time in milliseconds, in the served order of columns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rank_svc.scorers.store import OBJECTIVES, Floats
from rank_svc.train.dataset import Flags
from rank_svc.train.derive import WatchTime
from rank_svc.train.impressions import LABELS

HEADS = (*LABELS, "watch")
"""Columns of logits; `watch` is of the quantile of watch time."""
COLUMNS = (*OBJECTIVES, "long_view", "follow")


class Answer(nn.Module):
    """Logits [n, len(HEADS)] and features [n, f] -> predictions [n, len(COLUMNS)]."""

    def __init__(self, scale: Floats, shift: Floats, watch: WatchTime, duration: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.from_numpy(scale), requires_grad=False)
        self.shift = nn.Parameter(torch.from_numpy(shift), requires_grad=False)
        self.watch, self.duration = watch, duration

    def forward(self, logits: Tensor, features: Tensor) -> Tensor:
        chances = torch.sigmoid(logits * self.scale + self.shift)
        seconds = torch.exp(features[:, self.duration]) - 1
        watched = self.watch(chances[:, HEADS.index("watch")], seconds)
        by_name = {name: chances[:, i] for i, name in enumerate(HEADS)} | {"watch_ms": watched}
        return torch.stack([by_name[name] for name in COLUMNS], 1)


def calibrate(logits: Floats, labels: Mapping[str, Flags], rounds: int = 100) -> tuple[Floats, Floats]:
    """(scale, shift) of each head by Platt's method, with his prior against certainty; watch time stays as it is."""
    scale, shift = np.ones(len(HEADS), np.float32), np.zeros(len(HEADS), np.float32)
    for i, name in enumerate(HEADS):
        if name not in labels:
            continue
        truth = labels[name]
        positive, negative = int(truth.sum()), int((~truth).sum())
        if positive < 5 or negative < 5:
            continue
        target = np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
        scale[i], shift[i] = _platt(logits[:, i].astype(np.float64), target, rounds)
    return scale, shift


def _platt(logits: NDArray[np.float64], target: NDArray[np.float64], rounds: int) -> tuple[float, float]:
    matrix = np.stack([logits, np.ones_like(logits)], 1)

    def loss(weight: NDArray[np.float64]) -> float:
        said = matrix @ weight
        return float((np.logaddexp(0, said) - target * said).sum() + 5e-4 * ((weight - [1.0, 0.0]) ** 2).sum())

    weight = np.array([1.0, 0.0])
    for _ in range(rounds):
        chance = 1 / (1 + np.exp(-np.clip(matrix @ weight, -30, 30)))
        gradient = matrix.T @ (chance - target) + 1e-3 * (weight - [1.0, 0.0])
        curve = (matrix * (chance * (1 - chance))[:, None]).T @ matrix + 1e-3 * np.eye(2)
        step, now = np.linalg.solve(curve, gradient), loss(weight)
        # Newton's step is too long where the curve is flat: halve it until it helps.
        while loss(weight - step) > now and np.abs(step).max() > 1e-8:
            step /= 2
        weight = weight - step
        if np.abs(step).max() < 1e-8:
            break
    # A slope that turned round would rank upside down: then only the level is trusted.
    return (float(weight[0]), float(weight[1])) if weight[0] > 0 else (1.0, 0.0)
