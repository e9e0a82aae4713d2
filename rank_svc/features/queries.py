"""Features for people and for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rank_svc.features.columns import video_columns
from rank_svc.features.history import loved, ratio
from rank_svc.features.lengths import typical
from rank_svc.features.store import MAX_HISTORY, Embeddings, FeatureStore, HistoryStore, Interaction
from svc_kit.clock import Clock, now_ms


@dataclass(frozen=True, slots=True)
class Described:
    """Features of one video or viewer by name, and its vector; None: it has none."""

    id: int
    values: Mapping[str, float]
    vector: NDArray[np.float32] | None


class FeatureQueries:
    """Reads features."""

    def __init__(self, store: FeatureStore, histories: HistoryStore, embeddings: Embeddings, clock: Clock) -> None:
        self._store = store
        self._histories = histories
        self._embeddings = embeddings
        self._clock = clock

    async def videos(self, ids: Sequence[int]) -> tuple[list[Described], str]:
        """Known videos in the order asked, and the model version of their vectors."""
        records = await self._store.read(ids)
        known = [i for i in dict.fromkeys(ids) if i in records]
        lengths = typical(await self._store.buckets())
        columns = video_columns([records[i] for i in known], lengths, now_ms(self._clock))
        version = self._embeddings.version()
        vectors, indexed = self._embeddings.video_vectors(known)
        return [
            Described(
                video_id,
                {name: float(column[row]) for name, column in columns.items()},
                vectors[row] if indexed[row] else None,
            )
            for row, video_id in enumerate(known)
        ], version

    async def viewers(self, ids: Sequence[int]) -> tuple[list[Described], str]:
        """Known viewers in the order asked, and the model version of their vectors."""
        histories = await self._histories.histories(ids, MAX_HISTORY)
        told = await self._store.viewers(ids)
        known = [i for i in dict.fromkeys(ids) if i in histories or i in told]
        version = self._embeddings.version()
        vectors = await self._embeddings.viewer_vectors(known)
        return [
            Described(i, _viewer_values(histories.get(i, ()), now_ms(self._clock)), vectors.get(i)) for i in known
        ], version


def _viewer_values(history: Sequence[Interaction], now: int) -> dict[str, float]:
    watched = [made for made in history if made.watched_ms]
    return {
        "interactions": float(len(history)),
        "loved": float(sum(map(loved, history))),
        "likes": float(sum(made.liked for made in history)),
        "skips": float(sum(made.skipped for made in history)),
        "not_interested": float(sum(made.not_interested for made in history)),
        "mean_watch_ratio": sum(map(ratio, watched)) / len(watched) if watched else 0.0,
        "hours_since_last": max(now - history[0].at_ms, 0) / 3_600_000 if history else 0.0,
    }
