"""What ships: networks of both kinds and the linear part, side by side in one vector a user and one an item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from rank_svc.scorers.store import Floats
from rank_svc.train.batches import Material, whole
from rank_svc.train.dataset import Ints
from rank_svc.train.linear import ACTION_WEIGHTS, LENGTH_SCALE, Linear
from rank_svc.train.options import TowerOptions
from rank_svc.train.towers import Member


class Combined(nn.Module):
    """user = [each network | linear | 1], item = [the same | bias]: inner products add up."""

    def __init__(self, members: Sequence[Any], options: TowerOptions, linear: Linear | None = None) -> None:
        """`members`: of `Member`, and modules."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self.options = options
        rows = members[0].bias.shape[0]
        none = np.zeros((rows, 0), np.float32)
        self.put(linear or Linear(none, none))
        self.weights = nn.Parameter(torch.from_numpy(ACTION_WEIGHTS), requires_grad=False)
        self.linear_scale = 0.0

    def put(self, linear: Linear) -> None:
        """Take this linear part."""
        self.left = nn.Parameter(torch.from_numpy(linear.left), requires_grad=False)
        self.right = nn.Parameter(torch.from_numpy(linear.right), requires_grad=False)

    @property
    def _networks(self) -> list[Member]:
        return cast(list[Member], list(self.members))

    def entries(self) -> Tensor:
        """[items + 1, ...] what `users` takes of each history item."""
        return torch.cat([m.inputs() for m in self._networks] + [self.left], 1)

    def items(self) -> Tensor:
        """[items + 1, d]"""
        parts = [m.outputs() for m in self._networks]
        bias = torch.stack([m.biases() for m in self._networks]).sum(0)
        return torch.cat([*parts, self.right, bias[:, None]], 1)

    def users(self, entries: Tensor, actions: Tensor) -> Tensor:
        """[b, l, ...] rows of `entries` oldest first, [b, l] actions with 0 for padding at the end -> [b, d]"""
        count = (actions > 0).sum(1, keepdim=True)
        widths = [m.inputs().shape[1] for m in self._networks]
        *inputs, left = entries.split([*widths, self.left.shape[1]], -1)
        parts = [m.user(x, actions) for m, x in zip(self._networks, inputs, strict=True)]
        weights = self.weights[actions] * (self.linear_scale * LENGTH_SCALE * float(self.options.history))
        linear = (left * weights[..., None]).sum(1) / torch.sqrt(count.clamp(min=1).to(entries.dtype))
        return torch.cat([*parts, linear, torch.ones_like(parts[0][:, :1])], 1)

    def vectors(self, source: Material, asked: Ints) -> Tensor:
        """[len, d] of users of the material, as they are now."""
        batch = whole(source, asked)
        return self.users(self.entries()[torch.from_numpy(batch.rows)], torch.from_numpy(batch.actions))

    def prior(self) -> Floats:
        """[d] of a user of whom nothing is known."""
        entries = self.entries()[:1][None]
        found: Floats = self.users(entries, torch.zeros((1, 1), dtype=torch.int64))[0].numpy()
        return found
