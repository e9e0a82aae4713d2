"""Pages of the feed For You."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from feed_svc.feeds.building import Built, SnapshotBuilder, ViewerState
from feed_svc.feeds.builds import Builds
from feed_svc.feeds.cursors import FOR_YOU, Cursors, Place
from feed_svc.feeds.hydration import RelationsReader
from feed_svc.feeds.impressions import Impressions, ServedPart
from feed_svc.feeds.pages import Assembled, PageRequest, PageTaker
from feed_svc.feeds.reasons import ReasonKind
from feed_svc.feeds.rules import Barred, Variety
from feed_svc.feeds.shelf import Shelf
from feed_svc.feeds.snapshot import Entry, Snapshot
from feed_svc.feeds.store import InteractionStore, SeenStore, VideoFacts, ViewerActions
from feed_svc.feeds.tuning import Tuning, Tunings
from feed_svc.feeds.viewers import Viewer
from feed_svc.settings import FeedSettings
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError, unavailable
from svc_kit.last_known import TRUTH_S, within
from svc_kit.telemetry import log

RACES = 5
REMEMBERED_SUCCESSORS = 1000
REFRESH_END_AFTER_MS = 10_000
"""A feed that ended is looked at again, at a page after its end, this long after its tail was built."""

_log = log(__name__)


@dataclass(frozen=True, slots=True)
class FeedEdge:
    """One video of a page."""

    video_id: int
    cursor: str
    reason: ReasonKind
    user_id: int = 0
    seed_video_id: int = 0
    hashtag: str = ""


@dataclass(frozen=True, slots=True)
class FeedPage:
    """A page of a feed."""

    edges: list[FeedEdge]
    has_next: bool
    snapshot_id: str
    is_stale: bool


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a page begins."""

    snapshot: Snapshot
    position: int
    facts: Mapping[int, VideoFacts]
    is_stale: bool = False
    is_old_first_page: bool = False


class ForYou:
    """Pages of snapshots. Late or failing parts give an older answer, marked stale."""

    def __init__(
        self,
        shelf: Shelf,
        builder: SnapshotBuilder,
        builds: Builds,
        pages: PageTaker,
        relations: RelationsReader,
        interactions: InteractionStore,
        seen: SeenStore,
        cursors: Cursors,
        impressions: Impressions,
        tunings: Tunings,
        settings: FeedSettings,
        clock: Clock,
    ) -> None:
        self._shelf = shelf
        self._builder = builder
        self._builds = builds
        self._pages = pages
        self._relations = relations
        self._interactions = interactions
        self._seen = seen
        self._cursors = cursors
        self._impressions = impressions
        self._tunings = tunings
        self._settings = settings
        self._clock = clock
        self._successors: dict[tuple[str, str, int], str] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def page(self, viewer: Viewer, size: int, cursor: str) -> FeedPage:
        """The page after `cursor`, or the first one. Raises BAD_USER_INPUT for a cursor that is not this viewer's."""
        place = self._cursors.open(cursor, viewer.binding, FOR_YOU) if cursor else None
        turn = self._turns.setdefault(viewer.owner, asyncio.Lock())
        async with turn:
            state = await self.state(viewer)
            start = await (self._after(viewer, state, place) if place else self._first(viewer, state))
            page = await self._serve(viewer, state, start, size)
            if not page.edges and start.is_old_first_page:
                page = await self._serve(viewer, state, await self._begun(viewer, state), size)
            return page

    async def state(self, viewer: Viewer) -> ViewerState:
        """The viewer's relations and actions, both at once."""
        relations, actions = await asyncio.gather(self._relations.of(viewer.id), self._actions(viewer.id))
        fresh = relations.is_fresh and actions is not None
        return ViewerState(relations, actions or ViewerActions(-1, frozenset()), is_fresh=fresh)

    async def refresh(self, viewer: Viewer, state: ViewerState, snapshot: Snapshot) -> Built:
        """Rank a snapshot's tail anew, or join whoever does."""
        key = (snapshot.id, state.actions.version, state.relations.digest)
        return await self._builds.run(key, lambda: self._builder.refresh(viewer, state, snapshot))

    async def _actions(self, viewer_id: int) -> ViewerActions | None:
        if not viewer_id:
            return ViewerActions(0, frozenset())
        try:
            async with within(TRUTH_S):
                return await self._interactions.actions(viewer_id)
        except AppError as error:
            _log.warning("actions are not fresh", reason=error.reason.value)
            return None

    # ---- Where a page begins ----

    async def _first(self, viewer: Viewer, state: ViewerState) -> _Start:
        current = await self._shelf.current(viewer.owner)
        if current is not None and self._is_reusable(current, state):
            return _Start(current, 0, {})
        if current is None or not (current.served or current.tail):
            return await self._begun(viewer, state)
        built = None if self._builder.is_degraded else await self._built_in_time(viewer, state, current)
        if built is not None and built.snapshot.is_ranked:
            return _Start(built.snapshot, 0, built.facts)
        return _Start(current, 0, {}, is_stale=True, is_old_first_page=True)

    def _is_reusable(self, snapshot: Snapshot, state: ViewerState) -> bool:
        age_ms = now_ms(self._clock) - snapshot.created_at_ms
        acted = state.actions.version not in (-1, snapshot.made_for)
        related = state.relations.is_fresh and state.relations.digest != snapshot.relations
        young = age_ms < self._settings.first_page_reuse_s * 1000
        return young and not acted and not related and (snapshot.is_ranked and bool(snapshot.served or snapshot.tail))

    async def _built_in_time(self, viewer: Viewer, state: ViewerState, current: Snapshot) -> Built | None:
        """A new snapshot; None when building fails or takes too long."""
        key = (viewer.owner, state.actions.version)
        wait_s = self._settings.stale_after_ms / 1000
        try:
            return await self._builds.run(key, lambda: self._builder.begin(viewer, state, current), wait_s=wait_s)
        except AppError as error:
            _log.info("feed not built in time", reason=error.reason.value)
            return None

    async def _begun(self, viewer: Viewer, state: ViewerState) -> _Start:
        """A new snapshot where there is no older one to answer with; of popular videos when there is no place to
        build."""
        key = (viewer.owner, state.actions.version, "anew")
        try:
            built = await self._builds.run(key, lambda: self._builder.begin(viewer, state, None))
        except AppError as error:
            _log.warning("feed of popular videos", reason=error.reason.value)
            return _Start(self._builder.popular(viewer, state), 0, {}, is_stale=True)
        return _Start(built.snapshot, 0, built.facts)

    async def _after(self, viewer: Viewer, state: ViewerState, place: Place) -> _Start:
        snapshot = await self._shelf.find(viewer.owner, place.snapshot_id)
        if snapshot is None or place.position >= len(snapshot.served):
            return await self._replaced(viewer, state, place)
        start = _Start(snapshot, place.position + 1, {})
        if not self._is_outdated(snapshot, state):
            return start
        start = await self._refreshed(viewer, state, start) or start
        return replace(start, is_stale=self._is_outdated(start.snapshot, state))

    async def _replaced(self, viewer: Viewer, state: ViewerState, place: Place) -> _Start:
        """A new snapshot without what the lost one is known to have served; the same one for the same cursor, as long
        as this process remembers."""
        key = (viewer.owner, place.snapshot_id, place.position)
        successor = self._successors.get(key)
        if successor and (snapshot := await self._shelf.find(viewer.owner, successor)):
            return _Start(snapshot, 0, {})
        served = await self._shelf.served(viewer.owner, place.snapshot_id)
        without = tuple(dict.fromkeys([*(entry.video_id for entry in served), place.video_id]))
        built = await self._builds.run(key, lambda: self._builder.begin(viewer, state, None, without, served))
        self._successors[key] = built.snapshot.id
        if len(self._successors) > REMEMBERED_SUCCESSORS:
            del self._successors[next(iter(self._successors))]
        return _Start(built.snapshot, 0, built.facts)

    def _is_outdated(self, snapshot: Snapshot, state: ViewerState) -> bool:
        acted = state.actions.version not in (-1, snapshot.tail_for)
        return acted or (state.relations.is_fresh and state.relations.digest != snapshot.tail_relations)

    async def _refreshed(
        self, viewer: Viewer, state: ViewerState, start: _Start, *, wait: bool = False
    ) -> _Start | None:
        key = (start.snapshot.id, state.actions.version, state.relations.digest)
        wait_ms = self._settings.stale_after_ms if wait else self._settings.rerank_wait_ms
        try:
            built = await self._builds.run(
                key, lambda: self._builder.refresh(viewer, state, start.snapshot), wait_s=wait_ms / 1000
            )
        except AppError as error:
            _log.info("tail not ranked anew in time", reason=error.reason.value)
            return None
        return replace(start, snapshot=built.snapshot, facts=built.facts)

    # ---- The page ----

    async def _serve(self, viewer: Viewer, state: ViewerState, start: _Start, size: int) -> FeedPage:
        looked_again = False
        for _ in range(RACES):
            page = await self._take(viewer, state, start, size)
            if len(page.places) < size and not looked_again and self._may_have_more(start):
                looked_again = True
                start = await self._refreshed(viewer, state, start, wait=True) or start
                continue
            current = start.position == 0 and not start.snapshot.served
            if not page.is_changed or await self._shelf.save(page.after, start.snapshot, current=current):
                return self._present(viewer, state, start, page)
            found = await self._shelf.find(viewer.owner, start.snapshot.id)
            if found is None:
                break
            start = replace(start, snapshot=found)
        raise unavailable("The feed changes too fast; ask again.")

    def _may_have_more(self, start: _Start) -> bool:
        if start.is_stale:
            return False
        since_ms = now_ms(self._clock) - start.snapshot.tail_at_ms
        return since_ms > REFRESH_END_AFTER_MS or (not start.snapshot.is_whole and bool(start.snapshot.served))

    async def _take(self, viewer: Viewer, state: ViewerState, start: _Start, size: int) -> Assembled:
        relations = state.relations.relations
        seen: frozenset[int] = frozenset()
        if viewer.id and (start.is_old_first_page or self._is_outdated(start.snapshot, state)):
            seen = await self._seen_of(viewer.id, start.snapshot)
        request = PageRequest(
            viewer.id,
            start.position,
            size,
            Barred(state.actions.refused, relations.blocked | relations.muted),
            seen=seen,
            skip_seen_served=start.is_old_first_page,
            variety=_variety(self._tunings.of(viewer.owner)),
        )
        return await self._pages.take(start.snapshot, request, start.facts)

    async def _seen_of(self, viewer_id: int, snapshot: Snapshot) -> frozenset[int]:
        ids = [entry.video_id for entry in (*snapshot.served, *snapshot.tail)]
        try:
            async with within(TRUTH_S):
                return await self._seen.among(viewer_id, ids)
        except AppError:
            return frozenset()

    def _present(self, viewer: Viewer, state: ViewerState, start: _Start, page: Assembled) -> FeedPage:
        first = len(start.snapshot.served)
        stale = start.is_stale or not page.is_verified or not state.is_fresh
        tuning, version = self._tunings.of(viewer.owner), page.after.model_version
        part = ServedPart(FOR_YOU, page.after.id, first, page.picked, version, tuning.label, stale)
        self._impressions.served(viewer, part)
        self._tunings.shown(viewer.owner, viewer.id, tuning)
        edges = [self._edge(viewer, page.after, position, entry) for position, entry in page.places]
        return FeedPage(edges, page.has_next, page.after.id, stale)

    def _edge(self, viewer: Viewer, snapshot: Snapshot, position: int, entry: Entry) -> FeedEdge:
        reason = ReasonKind(entry.reason)
        return FeedEdge(
            entry.video_id,
            self._cursors.seal(Place(FOR_YOU, snapshot.id, position, entry.video_id), viewer.binding),
            reason,
            user_id=entry.author_id if reason is ReasonKind.FOLLOWED else 0,
            seed_video_id=entry.seed_id,
            hashtag=snapshot.tag(entry.tag),
        )


def _variety(tuning: Tuning) -> Variety:
    s = tuning.settings
    return Variety(s.author_gap, s.topic_share, s.exploration_every, s.exploration_growth_share)
