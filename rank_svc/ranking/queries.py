"""Scores of candidates: one feature read, one model call, one version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rank_svc.features.columns import video_columns
from rank_svc.features.lengths import typical
from rank_svc.features.store import FeatureStore, VideoFacts, VideoRecord
from rank_svc.ranking.rows import cosines, feature_matrix
from rank_svc.ranking.value import value, weighted
from rank_svc.retrieval.pools import Pools
from rank_svc.retrieval.replica import Serving
from rank_svc.retrieval.taste import Taste, Tastes, ViewerInput
from rank_svc.scorers.encoding import encode_items
from rank_svc.scorers.store import Floats, ItemBatch, ModelRefused, Predictions, RankRows
from rank_svc.settings import RankSettings
from svc_kit.errors import AppError, invalid, unavailable
from svc_kit.telemetry import log

_log = log(__name__)


@dataclass(frozen=True, slots=True)
class Ranked:
    """[n] each, in the order asked."""

    scores: Floats
    predictions: Predictions
    affinity: Floats
    version: str


class RankingQueries:
    """Reads scores."""

    def __init__(
        self,
        tastes: Tastes,
        features: FeatureStore,
        pools: Pools,
        ready: Callable[[], Awaitable[None]],
        settings: RankSettings,
    ) -> None:
        self._tastes = tastes
        self._features = features
        self._pools = pools
        self._ready = ready
        self._settings = settings

    async def rank(
        self,
        viewer: ViewerInput,
        ids: Sequence[int],
        followed: Sequence[bool],
        weights: Mapping[str, float] | None = None,
        version: str = "",
    ) -> Ranked:
        """Scores of videos for a viewer. `followed`: by candidate, or empty. `weights`: see `value.weighted`.
        `version`: of the retrieval that found them; another one answers where it is not held. A video of which nothing
        is known gets the prior. Raises UNAVAILABLE when features can't be read or the model fails."""
        settings = weighted(self._settings, weights or {})
        if followed and len(followed) != len(ids):
            raise invalid("followed", f"followed has {len(followed)} entries for {len(ids)} videos; one each, or none.")
        await self._ready()
        taste = await self._tastes.of(viewer, version)
        history = [made.video_id for made in taste.history]
        read = await self._features.read([*ids, *history])
        lengths = typical(await self._features.buckets())
        records = [read.get(i) for i in ids]
        columns = video_columns(records, lengths, taste.now_ms)
        items = encode_items([_facts(i, record) for i, record in zip(ids, records, strict=True)])
        vectors = await _vectors(taste.serving, ids, records, items)
        affinity = cosines(taste.vector, vectors)
        tags = {i: read[i].facts.hashtags for i in history if i in read}
        matrix = feature_matrix(taste, records, columns, affinity, followed, await self._regional(taste), tags)
        users = np.repeat(taste.vector[None], len(ids), axis=0)
        predictions = await _predict(taste.serving, RankRows(matrix, items, taste.batch, vectors, users))
        typical_ms = columns["typical_watch_s"] * np.float32(1000)
        scores = value(predictions, affinity, typical_ms, columns["typical_completion"], settings)
        return Ranked(scores, predictions, affinity, taste.serving.version)

    async def _regional(self, taste: Taste) -> dict[int, float]:
        region = taste.viewer.region.upper()[:8]
        if not region:
            return {}
        try:
            return dict(await self._pools.popular(f"r:{region}"))
        except AppError as error:
            _log.warning("regional list not read", error=error.message)
            return {}


def _facts(video_id: int, record: VideoRecord | None) -> VideoFacts:
    return record.facts if record else VideoFacts(video_id, 0)


async def _vectors(
    serving: Serving, ids: Sequence[int], records: Sequence[VideoRecord | None], items: ItemBatch
) -> Floats:
    """From the index; of known videos that are not in it (not public) by the tower; zeros for unknown ones."""
    vectors, indexed = serving.videos.vectors(ids)
    missing = [i for i, there in enumerate(indexed.tolist()) if not there and records[i] is not None]
    if missing:
        vectors[missing] = (await serving.scorer.item_vectors(items))[missing]
    return vectors


async def _predict(serving: Serving, rows: RankRows) -> Predictions:
    try:
        return await serving.scorer.rank(rows)
    except ModelRefused as error:
        _log.error("ranker fails", version=serving.version, error=str(error))
        raise unavailable("The ranking model can't answer now.") from error
