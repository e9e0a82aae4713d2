"""The second kind of network: each target from all that its user did otherwise, before and after it.

    user = sums of action-weighted items, of near and far ones / length of the weights + time of target, and 1
    item = output table, and a bias

At serving all there is lies before. That what came after tells more than serving will ever know is a smaller evil than
to learn from the beginnings of histories alone: what items say of each other hangs little on their order, and the
linear part learns the same way. See docs/ranking.md, What paid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from rank_svc.train.options import AGES, LONGEST, TowerOptions
from rank_svc.train.towers import table

PACES = (1.0, 1.0, 0.96, 0.8)
"""What an interaction counts for each place further away, by quarter of the dimensions."""
DRIFT = 64
"""Dimensions of how items fare over time, whoever is asked: at serving, where the time is now, part of the bias."""
LEAST = 0.5
"""Of a sum of squared weights: a short history is not blown up."""


class Around(nn.Module):
    """Items are 1 to `items`; 0 is padding. See `rank_svc.train.towers.Member`."""

    def __init__(self, items: int, options: TowerOptions, *, ordered: bool) -> None:
        super().__init__()
        width, self.parts = options.around, len(PACES)
        if width % self.parts:
            raise ValueError(f"--option around={width}: must be a multiple of {self.parts}")
        self.history = float(options.history)
        self.into, self.out = table(items + 1, width, 0.02, padding=True), table(items + 1, width, 0.05)
        self.action = nn.Parameter(torch.tensor([0.0, 0.3, 1.0, 1.2]))
        self.base = nn.Parameter(torch.zeros(width))
        self.drift = table(items + 1, DRIFT, 0.05)
        self.target_age = table(AGES, width + DRIFT, 0.02)
        self.bias = nn.Parameter(torch.zeros(items + 1))
        place = torch.arange(LONGEST)
        apart = (place[:, None] - place).abs()
        paces = torch.tensor(PACES if ordered else [1.0] * self.parts)[:, None]
        fall = paces**place
        self.register_buffer("fall", fall, persistent=False)
        self.register_buffer("reach", fall[:, (apart - 1).clamp(min=0)] * (apart > 0), persistent=False)

    def states(self, rows: Tensor, actions: Tensor) -> Tensor:
        """[b, l] -> [b, l, width + DRIFT]; state j knows all interactions but j."""
        length = rows.shape[1]
        reach = self.reach[:, :length, :length]
        weighted, present = self._weighted(self.into(rows), actions)
        mass = (reach * reach) @ present[:, None, :, None]
        others = self._scaled(reach @ weighted, mass).transpose(1, 2).flatten(2)
        return f.pad(others + self.base, (0, DRIFT))

    def user(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[b, l, width], [b, l] -> [b, width]"""
        weighted, present = self._weighted(inputs, actions)
        back = present.sum(1, keepdim=True).long() - 1 - torch.arange(actions.shape[1])
        reach = (self.fall[:, back.clamp(min=0)] * present).transpose(0, 1)[:, :, None]
        mass = (reach * reach).sum(-1, keepdim=True)
        found = self._scaled(reach @ weighted, mass).flatten(1)
        return found + self.base + self.target_age.weight[0, :-DRIFT]

    def items(self, rows: Tensor) -> Tensor:
        """[n] -> [n, width + DRIFT]"""
        return torch.cat([self.out.weight[rows], self.drift.weight[rows]], -1)

    def inputs(self) -> Tensor:
        """[items + 1, width]"""
        return self.into.weight

    def outputs(self) -> Tensor:
        """[items + 1, width]"""
        return self.out.weight

    def biases(self) -> Tensor:
        """[items + 1] as of now."""
        return self.bias + self.drift.weight @ self.target_age.weight[0, -DRIFT:]

    def _weighted(self, inputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """[b, parts, l, width / parts] and [b, l] which are real."""
        present = (actions > 0).to(inputs.dtype)
        weighted = inputs * (self.action[actions] * present)[..., None]
        return weighted.unflatten(-1, (self.parts, -1)).transpose(1, 2), present

    def _scaled(self, sums: Tensor, mass: Tensor) -> Tensor:
        return sums.float() / torch.sqrt(mass.float().clamp(min=LEAST)) * self.history
