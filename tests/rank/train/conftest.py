"""Tiny made-up logs: two tastes, so that there is something to learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Write = Callable[..., Path]
DAY_MS = 86_400_000


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a dataset folder of the tables given by name: `write(interactions={...}, items={...})`."""

    def made(**tables: dict[str, Any]) -> Path:
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        for name, columns in tables.items():
            pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        return folder

    return made


def world(users: int = 60, items: int = 40, each: int = 12, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Interactions and items: even users like even items. Times in days from 1 on."""
    random = np.random.default_rng(seed)
    rows: dict[str, list[Any]] = {name: [] for name in ("user_id", "item_id", "timestamp_ms", "long_view", "like")}
    for user in range(users):
        for step, item in enumerate(random.permutation(items)[:each].tolist()):
            liked = (user + item) % 2 == 0
            rows["user_id"].append(user)
            rows["item_id"].append(item)
            rows["timestamp_ms"].append(DAY_MS * (step + 1) + user)
            rows["long_view"].append(liked)
            rows["like"].append(liked and step % 3 == 0)
    features = {
        "item_id": list(range(items)),
        "c_author": [str(1000 + i % 2) for i in range(items)],
        "c_tags": [["even" if i % 2 == 0 else "odd"] for i in range(items)],
        "n_duration_s": [10.0 + i for i in range(items)],
    }
    return {"interactions": rows, "items": features}


def impressions(n: int = 900, users: int = 60, items: int = 40, seed: int = 1) -> dict[str, list[Any]]:
    """Impressions after `world`: even users watch even items."""
    random = np.random.default_rng(seed)
    user, item = random.integers(0, users, n), random.integers(0, items, n)
    taste = ((user + item) % 2 == 0) ^ (random.random(n) < 0.1)
    duration = (10_000 + item * 1000).astype(np.int64)
    return {
        "user_id": user.tolist(),
        "item_id": item.tolist(),
        "timestamp_ms": (DAY_MS * 20 + np.sort(random.integers(0, 5 * DAY_MS, n))).tolist(),
        "watched_ms": np.where(taste, duration, 1500).tolist(),
        "duration_ms": duration.tolist(),
        "like": (taste & (random.random(n) < 0.3)).tolist(),
        "long_view": taste.tolist(),
    }
