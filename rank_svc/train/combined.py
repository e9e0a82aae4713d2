"""What ships: networks of several seeds and the linear part, side by side in one vector a user and one an item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rank_svc.scorers.store import Floats
from rank_svc.train.batches import Material, whole
from rank_svc.train.dataset import Ints
from rank_svc.train.linear import ACTION_WEIGHTS, LENGTH_SCALE, Linear
from rank_svc.train.towers import TwoTower


class Combined(nn.Module):
    """user = [sequence, bag of each network | linear | 1], item = [the same | bias]: inner products add up."""

    def __init__(self, members: Sequence[TwoTower], linear: Linear | None = None) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.options = members[0].options
        rows = members[0].entry.weight.shape[0]
        none = np.zeros((rows, 0), np.float32)
        left, right = (linear.left, linear.right) if linear else (none, none)
        self.left = nn.Parameter(torch.from_numpy(left), requires_grad=False)
        self.right = nn.Parameter(torch.from_numpy(right), requires_grad=False)
        self.weights = nn.Parameter(torch.from_numpy(ACTION_WEIGHTS), requires_grad=False)
        self.linear_scale = 0.0

    def entries(self) -> Tensor:
        """[items + 1, ...] what `users` takes of each history item."""
        return torch.cat([t for m in self.members for t in (m.entry.weight, m.bag_in.weight)] + [self.left], 1)

    def items(self) -> Tensor:
        """[items + 1, d]"""
        parts = [t for m in self.members for t in (m.entry.weight, m.bag_out.weight)]
        bias = sum(m.bias for m in self.members)
        return torch.cat([*parts, self.right, bias[:, None]], 1)

    def users(self, entries: Tensor, actions: Tensor) -> Tensor:
        """[b, l, ...] rows of `entries` oldest first, [b, l] actions with 0 for padding at the end -> [b, d]"""
        count = (actions > 0).sum(1, keepdim=True)
        width, bag = self.options.width, self.options.bag
        parts, at = [], 0
        for member in self.members:
            middle, end = at + width, at + width + bag
            states = member.encode(entries[..., at:middle], entries[..., middle:end], actions)
            last = states.gather(1, count[..., None].expand(-1, -1, width + bag))[:, 0] + member.target_age.weight[0]
            parts.append(last)
            at = end
        weights = self.weights[actions] * (self.linear_scale * LENGTH_SCALE * float(self.options.history))
        linear = (entries[..., at:] * weights[..., None]).sum(1) / torch.sqrt(count.clamp(min=1).to(entries.dtype))
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
