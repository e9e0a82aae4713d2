"""Keeping a replica's memory up to date: it follows the features' rows, and the model that should serve.

Rows, not events: every replica needs all of them, at every start, and the rows are all there is of the events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from rank_svc.features.history import loved
from rank_svc.features.store import FeatureStore, Interaction, VideoState
from rank_svc.retrieval.replica import Replica, Serving
from rank_svc.retrieval.store import Floats, VectorIndex
from rank_svc.retrieval.taste import Tastes
from rank_svc.scorers.encoding import encode_items
from rank_svc.scorers.store import ModelRefused, ModelRepository, Scorer
from rank_svc.settings import RankSettings
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

PAGE = 1000
VIEWERS_PAGE = 64
VIEWERS_SINCE_MS = 7 * 24 * 3_600_000
"""Viewers who did nothing for longer than this are not indexed at the start."""
LOVED_KEPT = 30
RETIRE_S = 60.0
"""A version that was replaced is kept this long for the calls that still use it."""

_log = log(__name__)

OpenIndex = Callable[[int], Awaitable[VectorIndex]]


async def load_serving(models: ModelRepository, packaged: ModelRepository, open_index: OpenIndex) -> Serving:
    """The version that should serve; when it can't be loaded, the packaged one, with the reason in the logs. Raises
    ModelRefused when that can't either."""
    try:
        scorer = await models.load(await models.wanted())
    except (ModelRefused, AppError) as error:
        if not _is_expected(error):
            raise
        _log.error("model refused, the packaged version serves", error=str(error))
        scorer = await packaged.load(await packaged.wanted())
    return await _serving(scorer, open_index)


def _is_expected(error: Exception) -> bool:
    """A version that can't serve, or a server that can't be asked now: what served before serves on."""
    return isinstance(error, ModelRefused) or is_transient(error)


async def _serving(scorer: Scorer, open_index: OpenIndex) -> Serving:
    dimensions = scorer.info.dimensions
    return Serving(scorer, await open_index(dimensions), await open_index(dimensions))


class Refresh:
    """The one writer of a `Replica`: one change at a time."""

    def __init__(
        self,
        replica: Replica,
        tastes: Tastes,
        features: FeatureStore,
        models: ModelRepository,
        record_serving: Callable[[str], Awaitable[bool]],
        open_index: OpenIndex,
        clock: Clock,
        settings: RankSettings,
    ) -> None:
        self._replica = replica
        self._tastes = tastes
        self._features = features
        self._models = models
        self._record_serving = record_serving
        self._open_index = open_index
        self._clock = clock
        self._settings = settings
        self._lock = asyncio.Lock()
        self._filled = False
        self._videos_at = 0
        self._viewers_at = now_ms(clock) - VIEWERS_SINCE_MS
        self._viewer_changes: dict[int, int] = {}
        self._recorded = ""
        self._retired: list[tuple[float, Serving]] = []
        self.refused = ""
        """Why the version that should serve does not; empty when it does."""

    async def ready(self) -> None:
        """Return when the videos that are known were taken over once."""
        if not self._filled:
            await self.videos()

    async def videos(self) -> int:
        """Take over videos that were published, changed or deleted; returns how many rows were looked at."""
        async with self._lock:
            count = await self._take_videos()
            self._filled = True
        return count

    async def _take_videos(self) -> int:
        # A transaction may commit after a later one was read: look again at what is young.
        cursor, count = (self._videos_at - int(self._settings.refresh_overlap_s * 1000), -1), 0
        while True:
            states = await self._features.changed_videos(cursor, PAGE)
            await self._apply(states)
            count += len(states)
            if states:
                cursor = (states[-1].changed_at_ms, states[-1].facts.video_id)
                self._videos_at = max(self._videos_at, cursor[0])
            if len(states) < PAGE:
                return count

    async def _apply(self, states: Sequence[VideoState]) -> None:
        cards, serving = self._replica.cards, self._replica.serving
        gone = [s.facts.video_id for s in states if not s.servable and s.facts.video_id in cards]
        for video_id in gone:
            cards.drop(video_id)
        await serving.videos.remove(gone)
        news = [s for s in states if s.servable and not _same(cards.get(s.facts.video_id), s)]
        await _index(serving, news)
        for state in news:
            cards.put(state)

    async def viewers(self) -> int:
        """Take over viewers whose history changed; returns how many."""
        if not self._settings.viewer_index_size:
            return 0
        async with self._lock:
            return await self._take_changed_viewers()

    async def _take_changed_viewers(self) -> int:
        cursor, count = (self._viewers_at - int(self._settings.refresh_overlap_s * 1000), -1), 0
        while True:
            page = await self._features.changed_viewers(cursor, VIEWERS_PAGE)
            news = {i: at for at, i in page if self._viewer_changes.get(i) != at}
            await self._take_viewers(list(news))
            self._viewer_changes |= news
            count += len(news)
            if page:
                cursor = page[-1]
                self._viewers_at = max(self._viewers_at, cursor[0])
            if len(page) < VIEWERS_PAGE:
                await self._evict()
                return count

    async def _take_viewers(self, ids: Sequence[int]) -> None:
        serving, loved_by = self._replica.serving, self._replica.loved
        found = await self._tastes.many(serving, ids) if ids else {}
        useful = {i: made for i, (_, history) in found.items() if (made := _loved(history))}
        if useful:
            rows = [found[i][0] for i in useful]
            await serving.viewers.add(list(useful), _stack(rows))
        for i in ids:
            loved_by.pop(i, None)
        loved_by |= useful
        await serving.viewers.remove([i for i in ids if i not in useful])

    async def _evict(self) -> None:
        loved_by = self._replica.loved
        excess = list(loved_by)[: max(len(loved_by) - self._settings.viewer_index_size, 0)]
        for i in excess:
            del loved_by[i]
        await self._replica.serving.viewers.remove(excess)
        oldest = self._viewers_at - int(self._settings.refresh_overlap_s * 1000)
        self._viewer_changes = {i: at for i, at in self._viewer_changes.items() if at >= oldest}

    async def model(self) -> bool:
        """Switch to the version that should serve, if it is another; true when switched. A version that is refused
        changes nothing."""
        async with self._lock:
            return await self._follow_model()

    async def _follow_model(self) -> bool:
        await self._retire()
        serving = self._replica.serving
        try:
            wanted = await self._models.wanted()
            if wanted != serving.version:
                await self._switch(await self._models.load(wanted))
            self.refused = ""
        except (ModelRefused, AppError) as error:
            if not _is_expected(error):
                raise
            if str(error) != self.refused:
                _log.error("model refused, the old version serves on", serving=serving.version, error=str(error))
            self.refused = str(error)
        version = self._replica.serving.version
        if self._recorded != version:
            await self._record_serving(version)
            self._recorded = version
        return self._replica.serving is not serving

    async def _switch(self, scorer: Scorer) -> None:
        fresh = await _serving(scorer, self._open_index)
        cards = self._replica.cards.all()
        for start in range(0, len(cards), PAGE):
            await _index(fresh, cards[start : start + PAGE])
        viewers = list(self._replica.loved)
        for start in range(0, len(viewers), VIEWERS_PAGE):
            found = await self._tastes.many(fresh, viewers[start : start + VIEWERS_PAGE])
            if found:
                await fresh.viewers.add(list(found), _stack([vector for vector, _ in found.values()]))
        old, self._replica.serving = self._replica.serving, fresh
        self._retired.append((self._clock.monotonic(), old))
        _log.info("model switched", version=fresh.version, previous=old.version, videos=len(cards))

    async def _retire(self) -> None:
        due = [old for at, old in self._retired if at + RETIRE_S <= self._clock.monotonic()]
        self._retired = [(at, old) for at, old in self._retired if old not in due]
        for old in due:
            await close_serving(old)


async def close_serving(serving: Serving) -> None:
    """Release a version and its vectors."""
    await serving.videos.close()
    await serving.viewers.close()
    await serving.scorer.unload()


async def _index(serving: Serving, states: Sequence[VideoState]) -> None:
    if states:
        vectors = await serving.scorer.item_vectors(encode_items([state.facts for state in states]))
        await serving.videos.add([state.facts.video_id for state in states], vectors)


def _same(known: VideoState | None, state: VideoState) -> bool:
    return known is not None and known.facts == state.facts and known.version == state.version


def _loved(history: Sequence[Interaction]) -> tuple[int, ...]:
    return tuple(made.video_id for made in history if loved(made))[:LOVED_KEPT]


def _stack(vectors: Sequence[Floats]) -> Floats:
    return np.stack(list(vectors)).astype(np.float32)
