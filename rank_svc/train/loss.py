"""Softmax over the target and shared negatives, corrected for how likely each negative was to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rank_svc.train.batches import Batch
from rank_svc.train.towers import Member


@dataclass(frozen=True, slots=True)
class Tensors:
    """A `Batch` as tensors."""

    rows: Tensor
    actions: Tensor
    ages: Tensor
    target: Tensor
    weights: Tensor


def tensors(batch: Batch) -> Tensors:
    """The same, without copying."""
    names = ("rows", "actions", "ages", "target", "weights")
    return Tensors(*(torch.from_numpy(getattr(batch, name)) for name in names))


class Negatives:
    """Draws each item with its own chance, so that one pass has popular items almost surely and no item twice."""

    def __init__(self, chances: Tensor, generator: torch.Generator, *, logq: bool) -> None:
        self._chances = chances
        self._generator = generator
        # A negative that is drawn with chance p stands for 1 / p of its kind.
        self._correction = -torch.log(chances.clamp(min=1e-9)) if logq else torch.zeros_like(chances)

    def draw(self) -> tuple[Tensor, Tensor]:
        """([s] items, [s] what to add to their logits)"""
        drawn = torch.rand(len(self._chances), generator=self._generator) < self._chances
        rows = drawn.nonzero()[:, 0]
        return rows, self._correction[rows]


def sampled_softmax(model: Member, batch: Tensors, negatives: Negatives) -> Tensor:
    """Weighted mean over targets of -log softmax. What a user met at any time is no negative for that user: it would
    be masked when served, and may be a target elsewhere in the history."""
    states = model.states(batch.rows, batch.actions)[:, : batch.rows.shape[1]][batch.target].float()
    wanted, weights = batch.rows[batch.target], batch.weights[batch.target]
    states = states + model.target_age(batch.ages[batch.target])
    rows, correction = negatives.draw()
    users = batch.target.nonzero()[:, 0]
    shift = (_met(batch.rows, rows, model.bias.shape[0]) * -1e4 + (model.bias[rows] + correction))[users]
    others = (states @ model.items(rows).T).float() + shift
    right = (states * model.items(wanted)).sum(-1).float() + model.bias[wanted]
    total = torch.logaddexp(torch.logsumexp(others, 1), right)
    return ((total - right) * weights).sum() / weights.sum().clamp(min=1e-9)


def _met(met: Tensor, rows: Tensor, items: int) -> Tensor:
    """[b, s] 1 where a user met a negative."""
    count = len(rows)
    place = torch.full((items,), count)
    place[rows] = torch.arange(count)
    found = torch.zeros(met.shape[0], count + 1)
    found.scatter_(1, place[met], 1.0)
    return found[:, :count]
