"""A viewer as the models see them at this moment: what is stored, what was reported a moment ago, and their vector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rank_svc.features.history import merge
from rank_svc.features.store import FeatureStore, HistoryStore, Interaction, VideoFacts, Viewer
from rank_svc.retrieval.replica import Replica, Serving
from rank_svc.retrieval.store import Floats
from rank_svc.scorers.encoding import Lookup, ViewerRow, encode_items, encode_users
from rank_svc.scorers.store import HISTORY, UserBatch
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.telemetry import log

_log = log(__name__)


@dataclass(frozen=True, slots=True)
class ViewerInput:
    """What the caller knows of a viewer."""

    viewer_id: int = 0
    """0: logged out."""
    language: str = ""
    region: str = ""
    device: str = ""
    local_hour: int = 0
    interests: tuple[str, ...] = ()
    recent: tuple[Interaction, ...] = ()


@dataclass(frozen=True, slots=True)
class Taste:
    """A viewer under one version."""

    viewer: ViewerInput
    """With what is stored where the caller knew nothing."""
    history: tuple[Interaction, ...]
    """Newest first."""
    vector: Floats
    """[d]; zeros when nothing is known."""
    batch: UserBatch
    """The row that the vector was made of."""
    serving: Serving
    now_ms: int

    @property
    def known(self) -> bool:
        """Whether there is any taste to go by."""
        return bool(self.vector.any())


class Tastes:
    """Computes vectors of viewers, and of videos that are not indexed."""

    def __init__(self, replica: Replica, features: FeatureStore, histories: HistoryStore, clock: Clock) -> None:
        self._replica = replica
        self._features = features
        self._histories = histories
        self._clock = clock

    async def of(self, viewer: ViewerInput, version: str = "") -> Taste:
        """The viewer now, under `version` where this replica holds it. When the stored history can't be read, by what
        the caller passed on alone."""
        serving, now = self._replica.held(version), now_ms(self._clock)
        stored, told = await self._stored(viewer.viewer_id)
        history = merge(viewer.recent, stored, limit=HISTORY)
        viewer = ViewerInput(
            viewer.viewer_id,
            viewer.language or told.language,
            viewer.region or told.region,
            viewer.device,
            viewer.local_hour,
            viewer.interests or told.interests,
            viewer.recent,
        )
        batch = await self._encode(serving, [_row(viewer, history)], now)
        vectors = await serving.scorer.user_vectors(batch)
        return Taste(viewer, history, vectors[0], batch, serving, now)

    async def _stored(self, viewer_id: int) -> tuple[Sequence[Interaction], Viewer]:
        if not viewer_id:
            return (), Viewer()
        try:
            histories = await self._histories.histories([viewer_id], HISTORY)
            told = await self._features.viewers([viewer_id])
        except AppError as error:
            _log.warning("history not read", reason=error.reason, error=error.message)
            return (), Viewer()
        return histories.get(viewer_id, ()), told.get(viewer_id, Viewer())

    async def _encode(self, serving: Serving, rows: Sequence[ViewerRow], now: int) -> UserBatch:
        ids = {made.video_id for row in rows for made in row.history}
        lookup, hashtags = await self._lookup(serving, ids)
        return encode_users(rows, now, lookup, hashtags, serving.scorer.info.dimensions)

    async def _lookup(self, serving: Serving, ids: Iterable[int]) -> tuple[Lookup, Callable[[int], Sequence[str]]]:
        """Vectors and hashtags of videos; of those that are not indexed (not public) by their facts."""
        wanted = list(ids)
        vectors, known = serving.videos.vectors(wanted)
        missing = [i for i, there in zip(wanted, known.tolist(), strict=True) if not there]
        facts: dict[int, VideoFacts] = {}
        if missing:
            try:
                facts = {i: record.facts for i, record in (await self._features.read(missing[:500])).items()}
            except AppError as error:
                _log.warning("features not read", reason=error.reason, error=error.message)
        places = {i: place for place, i in enumerate(wanted)}
        if facts:
            fresh = await serving.scorer.item_vectors(encode_items(list(facts.values())))
            for i, vector in zip(facts, fresh, strict=True):
                vectors[places[i]], known[places[i]] = vector, True

        def lookup(asked: Sequence[int]) -> tuple[Floats, NDArray[np.bool_]]:
            at = [places[i] for i in asked]
            return vectors[at], known[at]

        def hashtags(video_id: int) -> Sequence[str]:
            return facts[video_id].hashtags if video_id in facts else self._replica.cards.hashtags(video_id)

        return lookup, hashtags

    async def many(self, serving: Serving, ids: Sequence[int]) -> Mapping[int, tuple[Floats, Sequence[Interaction]]]:
        """Vectors and histories of stored viewers of whom something is known."""
        histories = await self._histories.histories(ids, HISTORY)
        told = await self._features.viewers(ids)
        known = [i for i in ids if i in histories or (i in told and told[i].interests)]
        if not known:
            return {}
        rows = [_row(_as_input(i, told.get(i, Viewer())), tuple(histories.get(i, ()))) for i in known]
        vectors = await serving.scorer.user_vectors(await self._encode(serving, rows, now_ms(self._clock)))
        return {
            i: (vector, histories.get(i, ())) for i, vector in zip(known, vectors, strict=True) if bool(vector.any())
        }


class ServingEmbeddings:
    """See `rank_svc.features.store.Embeddings`."""

    def __init__(self, replica: Replica, tastes: Tastes) -> None:
        self._replica = replica
        self._tastes = tastes

    def version(self) -> str:
        return self._replica.serving.version

    def video_vectors(self, ids: Sequence[int]) -> tuple[Floats, NDArray[np.bool_]]:
        return self._replica.serving.videos.vectors(ids)

    async def viewer_vectors(self, ids: Sequence[int]) -> Mapping[int, Floats]:
        found = await self._tastes.many(self._replica.serving, ids)
        return {i: vector for i, (vector, _) in found.items()}


def _as_input(viewer_id: int, told: Viewer) -> ViewerInput:
    return ViewerInput(viewer_id, told.language, told.region, interests=told.interests)


def _row(viewer: ViewerInput, history: Sequence[Interaction]) -> ViewerRow:
    return ViewerRow(
        *(viewer.viewer_id, history, viewer.interests),
        language=viewer.language,
        region=viewer.region,
        device=viewer.device,
        local_hour=viewer.local_hour,
    )
