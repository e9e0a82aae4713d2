"""Measuring all the time how much the index misses."""

from __future__ import annotations

import random

import numpy as np
from prometheus_client import Gauge

from rank_svc.retrieval.replica import Replica
from rank_svc.settings import RankSettings
from svc_kit.telemetry import log

_RECALL = Gauge("reelgraph_rank_index_recall", "Share of the exact nearest that the index finds, of sampled vectors")
_SIZE = Gauge("reelgraph_rank_index_size", "Vectors in the index", ["of"])
LEAST_RECALL = 0.9
"""Below it the index misses too much to be used."""

_log = log(__name__)


class RecallProbe:
    """Compares the index's answers with exact ones, for some of its own videos."""

    def __init__(self, replica: Replica, settings: RankSettings) -> None:
        self._replica = replica
        self._settings = settings
        self._random = random.Random(0)
        self.recall = 1.0
        """As last measured; 1 before."""

    async def measure(self) -> float:
        """Measure once, and show it as a metric."""
        serving = self._replica.serving
        _SIZE.labels("videos").set(serving.videos.size)
        _SIZE.labels("viewers").set(serving.viewers.size)
        ids = [card.facts.video_id for card in self._replica.cards.all()]
        sample = self._random.sample(ids, min(self._settings.recall_probe_queries, len(ids)))
        vectors, known = serving.videos.vectors(sample)
        vectors = vectors[known]
        if not len(vectors):
            # Nothing to miss: a gauge of 0 would call somebody.
            _RECALL.set(self.recall)
            return self.recall
        k = self._settings.recall_probe_k
        exact = await serving.videos.search(vectors, k, exact=True)
        found = await serving.videos.search(vectors, k)
        shares = [len(np.intersect1d(a.ids, b.ids)) / len(a.ids) for a, b in zip(exact, found, strict=True)]
        self.recall = float(np.mean(shares))
        _RECALL.set(self.recall)
        if self.recall < LEAST_RECALL:
            _log.warning("index misses too much", recall=self.recall, k=k, size=serving.videos.size)
        return self.recall

    async def check(self) -> None:
        """Raise when the index misses too much to be used."""
        if self.recall < LEAST_RECALL:
            raise ValueError(
                f"the vector index finds {self.recall:.0%} of the nearest; at least {LEAST_RECALL:.0%} expected"
            )
