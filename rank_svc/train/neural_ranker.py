"""The neural ranker: multi-gate mixture of experts with attention of the candidate over the history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from rank_svc.scorers.store import SIGNALS, Floats
from rank_svc.train.dataset import Ints
from rank_svc.train.derive import Arrays, Derive, Source
from rank_svc.train.rank_heads import HEADS

LONGEST = 50
"""Newest interactions that attention sees."""
BATCH, EPOCHS, RATE = 512, 6, 2e-3


class Mixture(nn.Module):
    """Derived features and served arrays -> logits [n, len(HEADS)]."""

    def __init__(self, columns: int, dimensions: int, mean: Floats, deviation: Floats, *, width: int = 32) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.from_numpy(mean), requires_grad=False)
        self.deviation = nn.Parameter(torch.from_numpy(deviation), requires_grad=False)
        self.small = nn.Linear(dimensions, width)
        self.signals = nn.Linear(len(SIGNALS), width)
        self.score = nn.Sequential(nn.Linear(3 * width, 16), nn.GELU(), nn.Linear(16, 1))
        inputs = columns + 4 * width
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, 96), nn.GELU(), nn.Dropout(0.2), nn.Linear(96, 48), nn.GELU())
            for _ in range(4)
        )
        self.gates = nn.Linear(inputs, 4 * len(HEADS))
        self.heads = nn.ModuleList(nn.Sequential(nn.Linear(48, 16), nn.GELU(), nn.Linear(16, 1)) for _ in HEADS)
        self.plain = nn.Linear(columns, len(HEADS))

    def forward(self, derived: Tensor, items: Tensor, users: Tensor, history: Tensor, signals: Tensor) -> Tensor:
        known = ((derived - self.mean) / self.deviation).clamp(-5, 5)
        history, signals = history[:, :LONGEST], signals[:, :LONGEST]
        present = signals.abs().sum(-1) > 0
        item, user, past = self.small(items), self.small(users), self.small(history)
        told = self.signals(torch.log1p(signals.clamp(min=0)))
        asked = item[:, None].expand_as(past)
        weight = self.score(torch.cat([past * asked, past - asked, told], -1))[..., 0]
        weight = (weight.masked_fill(~present, -1e4)).softmax(-1) * present
        pooled = (weight[..., None] * (past + told)).sum(1)
        x = torch.cat([known, item, user, pooled, pooled * item], 1)
        found = torch.stack([expert(x) for expert in self.experts], 1)
        gates = self.gates(x).view(-1, len(HEADS), 4).softmax(-1)
        mixed = gates @ found
        logits = torch.cat([head(mixed[:, i]) for i, head in enumerate(self.heads)], 1)
        return logits + self.plain(known)


@dataclass(slots=True)
class Network:
    """A trained mixture."""

    model: Mixture
    derive: Derive

    def logits(self, source: Source, derived: Floats, at: Ints, chunk: int = 1024) -> Floats:
        """[len(at), len(HEADS)]"""
        self.model.eval()
        blocks = []
        with torch.no_grad():
            for rows in np.array_split(at, max(1, len(at) // chunk)):
                blocks.append(self.model(torch.from_numpy(derived[rows]), *_tail(source, rows)).numpy())
        return np.concatenate(blocks)


def _tail(source: Source, rows: Ints) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    arrays: Arrays = source.arrays(rows, LONGEST)
    return arrays[1:]


def fit_network(
    source: Source,
    derive: Derive,
    derived: Floats,
    targets: Floats,
    train: Ints,
    late: Ints,
    *,
    seed: int = 0,
) -> Network:
    """Fit on the rows `train`, keep the weights that are best on `late`. `targets`: [n, len(HEADS)] from 0 to 1."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    mean, deviation = derived[train].mean(0), derived[train].std(0)
    model = Mixture(derived.shape[1], source.arrays(train[:1], 1)[1].shape[1], mean, np.maximum(deviation, 1e-3))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE, weight_decay=0.02)
    steps = EPOCHS * max(1, len(train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + EPOCHS, pct_start=0.1)
    best, kept = np.inf, {k: v.clone() for k, v in model.state_dict().items()}
    network = Network(model, derive)
    for _ in range(EPOCHS):
        model.train()
        for rows in np.array_split(random.permutation(train), max(1, len(train) // BATCH)):
            logits = model(torch.from_numpy(derived[rows]), *_tail(source, rows))
            loss = f.binary_cross_entropy_with_logits(logits, torch.from_numpy(targets[rows]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        value = float(
            f.binary_cross_entropy_with_logits(
                torch.from_numpy(network.logits(source, derived, late)), torch.from_numpy(targets[late])
            )
        )
        if value < best:
            best, kept = value, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(kept)
    model.eval()
    return network
