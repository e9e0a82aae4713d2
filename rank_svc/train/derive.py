"""What both rankers read, made from the arrays that are served: the same graph in training and in serving."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rank_svc.features.lengths import EDGES_MS
from rank_svc.scorers.store import RANK_FEATURES, SIGNALS, Floats
from rank_svc.train.dataset import Ints
from rank_svc.train.impressions import Rows, Timeline

SHARPNESS = (4.0, 16.0)
"""How much more a history item counts for being like the candidate (cosine)."""
SIMILAR_LENGTH = 2.0
"""The same for the difference of log lengths."""
RECENT = 10
_TOLD = ("watch_ratio", "liked", "completed", "skipped")
Arrays = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class Derive(nn.Module):
    """Served features, and what the history says: rates, rates of late, rates among videos like this one."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.duration = self.names.index("duration_log")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what it answers."""
        rates = [f"history {name}" for name in _TOLD]
        late = [f"recent {name}" for name in _TOLD]
        like = [f"like {sharpness:g} {name}" for sharpness in SHARPNESS for name in _TOLD]
        length = [f"length {name}" for name in _TOLD]
        return (*self.names, *rates, *late, *like, *length, "nearest", "inner", "cosine", "bias", "idle")

    def forward(self, features: Tensor, items: Tensor, users: Tensor, history: Tensor, signals: Tensor) -> Tensor:
        """[n, f], [n, d], [n, d], [n, l, d], [n, l, s] newest first -> [n, len(columns)]"""
        present = (signals.abs().sum(-1) > 0).to(features.dtype)
        told = torch.stack([signals[..., SIGNALS.index(name)] for name in _TOLD], -1)
        # The last dimension is the bias: likeness is between what is before it.
        mine, theirs = items[:, :-1], history[..., :-1]
        own = mine / mine.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        cosine = (theirs * own[:, None]).sum(-1) / theirs.norm(dim=-1).clamp(min=1e-6)
        late = present * (torch.cumsum(present, 1) <= RECENT).to(features.dtype)
        found = [_rates(told, present), _rates(told, late)]
        found += [_rates(told, present * torch.exp(sharpness * (cosine - 1))) for sharpness in SHARPNESS]
        length = torch.log1p(signals[..., SIGNALS.index("duration_s")].clamp(min=0))
        apart = (length - features[:, self.duration, None]).abs()
        found.append(_rates(told, present * torch.exp(-SIMILAR_LENGTH * apart)))
        nearest = (cosine * present).max(1).values[:, None]
        inner = (items * users).sum(-1, keepdim=True)
        taste = users[:, :-1]
        angle = (mine * taste).sum(-1, keepdim=True) / (
            mine.norm(dim=-1, keepdim=True) * taste.norm(dim=-1, keepdim=True)
        ).clamp(min=1e-6)
        idle = torch.log1p(signals[:, :1, SIGNALS.index("age_hours")].clamp(min=0))
        return torch.cat([features, *found, nearest, inner, angle, items[:, -1:], idle], 1)


def _rates(told: Tensor, weight: Tensor) -> Tensor:
    # Drawn a little to 0, so that one row is not a certainty.
    return (told * weight[..., None]).sum(1) / (weight.sum(1, keepdim=True) + 0.5)


class Source:
    """Impressions as the arrays that are served, some rows at a time."""

    def __init__(self, rows: Rows, timeline: Timeline, names: Sequence[str], items: Floats, users: Floats) -> None:
        self.rows, self._timeline = rows, timeline
        self._columns = [RANK_FEATURES.index(name) for name in names]
        self._items, self._users = items, users
        norm = np.linalg.norm(items[rows.items], axis=1) * np.linalg.norm(users[rows.users], axis=1)
        inner = (items[rows.items] * users[rows.users]).sum(1)
        rows.features[:, RANK_FEATURES.index("affinity")] = np.where(norm > 1e-9, inner / np.maximum(norm, 1e-9), 0)

    def __len__(self) -> int:
        return len(self.rows)

    def arrays(self, at: Ints, longest: int) -> Arrays:
        """features, item_vectors, user_vectors, history_vectors, history_signals of some rows."""
        rows, line = self.rows, self._timeline
        back = np.arange(1, longest + 1)
        place = rows.last[at][:, None] - back
        valid = place >= rows.first[at][:, None]
        place = np.where(valid, place, 0)
        history = self._items[line.items[place]] * valid[..., None]
        signals = line.signals[place].copy()
        hours = (rows.times_ms[at][:, None] - line.times_ms[place]) / 3_600_000
        signals[..., SIGNALS.index("age_hours")] = np.maximum(hours, 0)
        signals *= valid[..., None]
        arrays = (
            rows.features[at][:, self._columns],
            self._items[rows.items[at]],
            self._users[rows.users[at]],
            history,
            signals,
        )
        a, b, c, d, e = (torch.from_numpy(np.ascontiguousarray(array, np.float32)) for array in arrays)
        return a, b, c, d, e

    def derived(self, derive: Derive, longest: int, chunk: int = 512) -> Floats:
        """[n, len(derive.columns)] of all rows."""
        blocks = []
        with torch.no_grad():
            for start in range(0, len(self), chunk):
                at = np.arange(start, min(start + chunk, len(self)))
                blocks.append(derive(*self.arrays(at, longest)).numpy())
        return np.concatenate(blocks)


class WatchTime(nn.Module):
    """A quantile of watch time among videos of about one length, and back to milliseconds."""

    def __init__(self, tables: Floats) -> None:
        super().__init__()
        self.tables = nn.Parameter(torch.from_numpy(tables), requires_grad=False)
        self.edges = nn.Parameter(torch.tensor(EDGES_MS, dtype=torch.float32) / 1000, requires_grad=False)

    def forward(self, quantile: Tensor, duration_s: Tensor) -> Tensor:
        """[n] 0 to 1, [n] seconds -> [n] milliseconds"""
        bucket = (duration_s[:, None] >= self.edges).sum(1)
        steps = self.tables.shape[1] - 1
        place = quantile.clamp(0, 1) * steps
        low = place.floor().clamp(max=steps - 1)
        rows = self.tables[bucket]
        at = low.long()[:, None]
        below, above = rows.gather(1, at)[:, 0], rows.gather(1, at + 1)[:, 0]
        return below + (above - below) * (place - low)


def watch_tables(duration_ms: Ints, watched_ms: Ints, steps: int = 20) -> Floats:
    """[buckets, steps + 1] quantiles of watch time by length; of all lengths where there are too few."""
    bucket = np.digitize(duration_ms, EDGES_MS)
    grid = np.linspace(0, 1, steps + 1)
    all_of = np.quantile(watched_ms, grid)
    found = [
        np.quantile(watched_ms[bucket == b], grid) if (bucket == b).sum() >= 50 else all_of
        for b in range(len(EDGES_MS) + 1)
    ]
    return np.asarray(found, np.float32)


def watch_quantiles(tables: Floats, duration_ms: Ints, watched_ms: Ints) -> Floats:
    """[n] where each watch stands among those of its length, 0 to 1."""
    bucket = np.digitize(duration_ms, EDGES_MS)
    grid = np.linspace(0, 1, tables.shape[1])
    found = np.zeros(len(bucket), np.float32)
    for b, table in enumerate(tables):
        rows = bucket == b
        found[rows] = np.interp(watched_ms[rows], table + np.arange(len(table)) * 1e-3, grid)
    return found
