"""The validation split: the newest rows of a few users, held out by time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from rank_svc.train.batches import Material, material
from rank_svc.train.combined import Combined
from rank_svc.train.dataset import Flags, Ints
from rank_svc.train.histories import Histories, item_codes
from rank_svc.train.metrics import best
from rank_svc.train.options import LEAST_HELD, TowerOptions

MOST_USERS = 2000
NEWEST = 0.1
"""Share of all rows, by time, that counts as the newest."""


@dataclass(frozen=True, slots=True)
class Held:
    """Histories without the held-out rows, and what these were."""

    histories: Histories
    asked: Material | None
    """The held users' rows before the split."""
    seen: list[Ints]
    right: list[Ints]

    @property
    def usable(self) -> bool:
        """Whether there is anything to measure by."""
        return self.asked is not None and bool(self.right)

    def recall(self, model: Combined, k: int = 50) -> tuple[float, float]:
        """Recall of the held-out positives as the protocol counts it, and its standard error."""
        assert self.asked is not None
        found: list[float] = []
        with torch.no_grad():
            items = model.items()[1:]
            for start in range(0, self.asked.users, 256):
                users = np.arange(start, min(start + 256, self.asked.users))
                scores = (model.vectors(self.asked, users) @ items.T).numpy()
                for i, user in enumerate(users):
                    scores[i, self.seen[user]] = -np.inf
                top = best(scores, k)
                found += [float(np.isin(self.right[u], top[i]).mean()) for i, u in enumerate(users)]
        return float(np.mean(found)), float(np.std(found) / max(len(found), 1) ** 0.5)


def _able(histories: Histories, late: Flags) -> Ints:
    """Users with a positive among the late rows and one among the others."""
    before, after = (
        np.bincount(histories.owner[rows & histories.positive], minlength=len(histories.users))
        for rows in (~late, late)
    )
    return np.flatnonzero((before > 0) & (after > 0))


def hold_out(histories: Histories, catalogue: Ints, options: TowerOptions, seed: int) -> Held:
    """Of a share of users, everything after one moment is held out, or the last tenth of their own rows where too few
    have rows on both sides of one moment; nobody else loses a row.

    That others' newer rows are learned from makes the value too good to publish, but not less fit to say when more
    training hurts, and the newest rows are worth the most.
    """
    users = len(histories.users)
    count = min(max(int(users * options.held_users), min(LEAST_HELD, users // 5)), MOST_USERS)
    nothing = Held(histories, None, [], [])
    if options.held_users <= 0 or count < 1 or not len(histories.items):
        return nothing
    owner = histories.owner
    late = histories.times_ms > np.quantile(histories.times_ms, 1 - NEWEST)
    able = _able(histories, late)
    if not histories.ordered or len(able) < count:
        # Nobody, or too few, were there before and after one moment: each one's own last rows, drawn where unordered.
        last = histories.starts[1:][owner] - np.arange(len(owner))
        late = last <= np.ceil(NEWEST * histories.lengths)[owner]
        able = _able(histories, late)
    if not len(able):
        return nothing
    chosen = np.sort(np.random.default_rng(seed).permutation(able)[:count])
    mine = np.zeros(users, np.bool_)
    mine[chosen] = True
    left = histories.where(~(late & mine[owner]))
    only = histories.where(mine[owner] & ~late)
    asked = material(only, catalogue, replace(options, share=1.0))
    codes = item_codes(catalogue, histories.items)
    starts = histories.starts
    seen, right = [], []
    for user in chosen:
        rows = slice(int(starts[user]), int(starts[user + 1]))
        late_rows, items = late[rows], codes[rows]
        seen.append(items[~late_rows])
        right.append(items[late_rows & histories.positive[rows]])
    return Held(left, asked, seen, right)
