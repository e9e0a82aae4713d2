"""The network: one vector a user and one an item, compared by inner product.

    user = [causal transformer over (item, action) | sum of action-weighted items / sqrt n] + time of target, and 1
    item = [sequence item table | bag output table], and a bias

The bag has an input table of its own, so that what an item says of a user and what fits a user are learned apart.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from rank_svc.train.options import ACTIONS, AGES, LONGEST, TowerOptions


class Member(Protocol):
    """One network: in training states and items of d numbers and a bias, at serving vectors of d' and a bias."""

    @property
    def bias(self) -> Tensor:
        """[items + 1]"""
        ...

    @property
    def target_age(self) -> nn.Embedding:
        """[AGES, d] what is added to a state for a target of that age."""
        ...

    def states(self, rows: Tensor, actions: Tensor) -> Tensor:
        """[b, l] -> [b, at least l, d]: what is to predict the interaction at each place."""
        ...

    def user(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[b, l, inputs] rows of `inputs()` oldest first, [b, l] actions, 0 for padding at the end -> [b, d']"""
        ...

    def items(self, rows: Tensor) -> Tensor:
        """[n] -> [n, d]"""
        ...

    def inputs(self) -> Tensor:
        """[items + 1, inputs] what `user` takes of history items."""
        ...

    def outputs(self) -> Tensor:
        """[items + 1, d'] what `user` is multiplied by."""
        ...

    def biases(self) -> Tensor:
        """[items + 1] what is added to that."""
        ...


class Block(nn.Module):
    """One layer, normalised before each half."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[b, l, width] -> the same shape. `mask`: [l, l], added to the logits."""
        b, length, width = x.shape
        each = width // self.heads
        q, k, v = self.into(self.before(x)).view(b, length, 3, self.heads, each).permute(2, 0, 3, 1, 4)
        # Written out: for short rows this is faster on a CPU than the fused kernel, backwards above all.
        weight = ((q @ k.transpose(-1, -2)) * each**-0.5 + mask.to(q.dtype)).softmax(-1).to(v.dtype)
        mixed = (weight @ v).transpose(1, 2).reshape(b, length, width)
        x = x + f.dropout(self.out(mixed), self.dropout, self.training)
        return x + f.dropout(self.down(f.gelu(self.up(self.between(x)))), self.dropout, self.training)


class TwoTower(nn.Module):
    """Items are 1 to `items`; 0 is padding."""

    def __init__(self, items: int, options: TowerOptions, *, ordered: bool) -> None:
        super().__init__()
        width, bag = options.width, options.bag
        self.options, self.ordered = options, ordered
        self.entry = table(items + 1, width, 0.05, padding=True)
        self.action, self.place = table(ACTIONS, width, 0.05), table(LONGEST + 1, width, 0.05)
        inner = options.feed_forward
        blocks = (Block(width, options.heads, inner, options.dropout) for _ in range(options.layers))
        self.blocks = nn.ModuleList(blocks)
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, width)
        self.bag_in = table(items + 1, bag, 0.02, padding=True)
        self.bag_out = table(items + 1, bag, 0.05)
        self.bag_action = nn.Parameter(torch.tensor([0.0, 0.3, 1.0, 1.2]))
        self.bag_bias = nn.Parameter(torch.zeros(bag))
        self.target_age = table(AGES, width + bag, 0.02)
        self.bias = nn.Parameter(torch.zeros(items + 1))
        self.register_buffer("mask", torch.full((LONGEST + 1, LONGEST + 1), -1e4).triu(1), persistent=False)

    def states(self, rows: Tensor, actions: Tensor) -> Tensor:
        """[b, l] oldest first -> [b, l + 1, width + bag]; state j knows the first j interactions."""
        return self.encode(self.entry(rows), self.bag_in(rows), actions)

    def encode(self, entries: Tensor, bags: Tensor, actions: Tensor) -> Tensor:
        """`states` from item vectors that were looked up: [b, l, width], [b, l, bag]."""
        sequence = self._sequence(entries, actions)
        present = (actions > 0).to(bags.dtype)
        weighted = bags * (self.bag_action[actions] * present)[..., None]
        total = torch.cumsum(weighted, 1) / torch.sqrt(torch.cumsum(present, 1) + 1)[..., None]
        if not self.options.history:
            total = total * 0
        total = f.pad(total, (0, 0, 1, 0)) + self.bag_bias
        return torch.cat([sequence.to(total.dtype), total], -1)

    def _sequence(self, entries: Tensor, actions: Tensor) -> Tensor:
        width = self.options.width
        x = entries * (math.sqrt(width) / 2) + self.action(actions)
        x = f.pad(x, (0, 0, 1, 0))
        if not self.options.history:
            x = x * 0
        length = x.shape[1]
        if self.ordered:
            x = x + self.place.weight[:length]
        x = f.dropout(x, self.options.dropout, self.training)
        for block in self.blocks:
            x = block(x, self.mask[:length, :length])
        found: Tensor = self.out(self.norm(x))
        return found

    def user(self, inputs: Tensor, actions: Tensor) -> Tensor:
        """[b, l, width + bag] rows of `inputs()`, [b, l] -> [b, width + bag]: the state after the last, as of now."""
        entries, bags = inputs[..., : self.options.width], inputs[..., self.options.width :]
        states = self.encode(entries, bags, actions)
        last = (actions > 0).sum(1)[:, None, None].expand(-1, -1, states.shape[-1])
        return states.gather(1, last)[:, 0] + self.target_age.weight[0]

    def items(self, rows: Tensor) -> Tensor:
        """[n] -> [n, width + bag]"""
        return torch.cat([self.entry.weight[rows], self.bag_out.weight[rows]], -1)

    def inputs(self) -> Tensor:
        """[items + 1, width + bag]"""
        return torch.cat([self.entry.weight, self.bag_in.weight], 1)

    def outputs(self) -> Tensor:
        """[items + 1, width + bag]"""
        return torch.cat([self.entry.weight, self.bag_out.weight], 1)

    def biases(self) -> Tensor:
        """[items + 1]"""
        return self.bias


def table(rows: int, width: int, deviation: float, *, padding: bool = False) -> nn.Embedding:
    """Normal numbers; with `padding` row 0 is zeros and stays so."""
    made = nn.Embedding(rows, width, padding_idx=0 if padding else None)
    nn.init.normal_(made.weight, std=deviation)
    if padding:
        with torch.no_grad():
            made.weight[0] = 0
    return made
