"""Keeping a replica's memory up to date: it follows the features' rows, and the model that should serve.

Rows, not events: every replica needs all of them, at every start, and the rows are all there is of the events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
import numpy as np

from rank_svc.features.history import loved
from rank_svc.features.store import FeatureStore, Interaction, VideoState
from rank_svc.retrieval.ages import EmbeddingAges, show_model
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
AGAIN_S = 60.0
"""A version that was refused is not loaded again sooner: it is what it was, and loading costs."""

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
        settle_s: float = 0,
    ) -> None:
        """`settle_s`: how long a loaded version waits before it serves."""
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
        self._settle_s = settle_s
        self._settled_at = 0.0
        self._recorded = ""
        self._not_before: dict[str, float] = {}
        self._viewers_filled = False
        self.ages = EmbeddingAges(clock)
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
        cards = self._replica.cards
        gone = [s.facts.video_id for s in states if not s.servable and s.facts.video_id in cards]
        for video_id in gone:
            cards.drop(video_id)
        news = [s for s in states if s.servable and not _same(cards.get(s.facts.video_id), s)]
        await self._replica.serving.videos.remove(gone)
        await _index(self._replica.serving, news)
        standby = self._replica.standby
        if standby is not None:
            await standby.videos.remove(gone)
            try:
                await _index(standby, news)
            except ModelRefused as error:
                self._refuse(standby.version, error)
                self._drop_standby()
        if self._filled:
            self.ages.videos([(s, s.facts.video_id not in cards) for s in news])
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
            await self._take_viewers(news)
            self._viewer_changes |= news
            count += len(news)
            if page:
                cursor = page[-1]
                self._viewers_at = max(self._viewers_at, cursor[0])
            if len(page) < VIEWERS_PAGE:
                await self._evict()
                self._viewers_filled = True
                return count

    async def _take_viewers(self, news: Mapping[int, int]) -> None:
        """`news`: viewers, and when each changed."""
        ids, loved_by = list(news), self._replica.loved
        useful: dict[int, tuple[int, ...]] = {}
        for place in self._places():
            found = await self._tastes.many(place, ids) if ids else {}
            useful = {i: made for i, (_, history) in found.items() if (made := _loved(history))}
            if useful:
                await place.viewers.add(list(useful), _stack([found[i][0] for i in useful]))
            await place.viewers.remove([i for i in ids if i not in useful])
            if place is self._replica.serving:
                newest = {i: found[i][1][0].at_ms for i in useful}
                self.ages.viewers(news, newest, first=not self._viewers_filled)
        for i in ids:
            loved_by.pop(i, None)
        loved_by |= useful

    def _places(self) -> list[Serving]:
        replica = self._replica
        return [replica.serving, *([replica.standby] if replica.standby else [])]

    async def _evict(self) -> None:
        loved_by = self._replica.loved
        excess = list(loved_by)[: max(len(loved_by) - self._settings.viewer_index_size, 0)]
        for i in excess:
            del loved_by[i]
            self.ages.forget(i)
        for place in self._places():
            await place.viewers.remove(excess)
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
        wanted = ""
        try:
            wanted = await self._models.wanted()
            await self._prepare(wanted)
        except (ModelRefused, AppError) as error:
            if not _is_expected(error):
                raise
            self._refuse(wanted, error)
        standby = self._replica.standby
        if standby is not None and self._settled_at <= self._clock.monotonic():
            self._switch(standby)
        switched = self._replica.serving is not serving
        await self._show(serving.version if switched else "")
        return switched

    async def _prepare(self, wanted: str) -> None:
        """Hold the version that should serve next to the one that does."""
        serving, standby = self._replica.serving, self._replica.standby
        if standby is not None and standby.version != wanted:
            self._drop_standby()
        if wanted == serving.version:
            self.refused = ""
        elif self._replica.standby is None and self._not_before.get(wanted, 0.0) <= self._clock.monotonic():
            self._replica.standby = await self._filled_with(await self._models.load(wanted))
            self._settled_at = self._clock.monotonic() + self._settle_s
            self.refused = ""
            _log.info("model loaded", version=wanted, serving=serving.version, serves_in_s=self._settle_s)

    def _refuse(self, version: str, error: Exception) -> None:
        if isinstance(error, ModelRefused) and version:
            self._not_before = {version: self._clock.monotonic() + AGAIN_S}
        if str(error) != self.refused:
            serving = self._replica.serving.version
            _log.error("model refused, the old version serves on", serving=serving, error=str(error))
        self.refused = str(error)

    async def _filled_with(self, scorer: Scorer) -> Serving:
        """A version with the vectors of all videos and viewers; nothing of it stays when it can't make them."""
        fresh = await _serving(scorer, self._open_index)
        try:
            cards = self._replica.cards.all()
            for start in range(0, len(cards), PAGE):
                await _index(fresh, cards[start : start + PAGE])
            viewers = list(self._replica.loved)
            for start in range(0, len(viewers), VIEWERS_PAGE):
                found = await self._tastes.many(fresh, viewers[start : start + VIEWERS_PAGE])
                if found:
                    await fresh.viewers.add(list(found), _stack([vector for vector, _ in found.values()]))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await close_serving(fresh)
            raise
        return fresh

    def _switch(self, fresh: Serving) -> None:
        replica = self._replica
        old, replica.serving, replica.standby = replica.serving, fresh, None
        replica.retired.append((self._clock.monotonic(), old))
        _log.info("model switched", version=fresh.version, previous=old.version, videos=len(replica.cards))

    def _drop_standby(self) -> None:
        """Another replica may have begun calls with it: it goes as one does that served."""
        if self._replica.standby is not None:
            self._replica.retired.append((self._clock.monotonic(), self._replica.standby))
            self._replica.standby = None

    async def _show(self, before: str) -> None:
        info = self._replica.serving.scorer.info
        show_model(info, now_ms(self._clock), refused=bool(self.refused), before=before)
        if self._recorded != info.version:
            await self._record_serving(info.version)
            self._recorded = info.version

    async def _retire(self) -> None:
        replica = self._replica
        due = [old for at, old in replica.retired if at + RETIRE_S <= self._clock.monotonic()]
        replica.retired = [(at, old) for at, old in replica.retired if old not in due]
        for old in due:
            await close_serving(old)


async def close_replica(replica: Replica) -> None:
    """Release every version that it holds."""
    standby = [replica.standby] if replica.standby else []
    for held in (replica.serving, *standby, *(old for _, old in replica.retired)):
        await close_serving(held)


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
