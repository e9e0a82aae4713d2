"""Hydration: what a viewer may see and how they stand to others, under deadlines and breakers, with fallbacks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from feed_svc.feeds.store import (
    KnownVideos,
    Relations,
    RelationsSource,
    VideoDirectory,
    VideoFacts,
)
from svc_kit.breaker import Breaker
from svc_kit.errors import AppError
from svc_kit.telemetry import log

REMEMBERED_VIEWERS = 2000

_log = log(__name__)


@dataclass(frozen=True, slots=True)
class Visible:
    """What may be shown."""

    facts: Mapping[int, VideoFacts]
    is_verified: bool
    """media_svc said so, for this viewer and now; else it is what this service has heard of public videos."""


class Hydrator:
    """Asks `VideoDirectory`; when it is late or down, answers from this service's projection, public videos alone."""

    def __init__(self, videos: VideoDirectory, known: KnownVideos, breaker: Breaker, deadline_s: float) -> None:
        self._videos = videos
        self._known = known
        self._breaker = breaker
        self._deadline_s = deadline_s

    async def visible(self, viewer_id: int, video_ids: Sequence[int]) -> Visible:
        """Those of these videos that the viewer may see. Raises UNAVAILABLE when the projection can't be read, too."""
        if not video_ids:
            return Visible({}, is_verified=True)
        try:
            facts = await self._breaker.call(
                lambda: self._videos.visible(viewer_id, video_ids), deadline_s=self._deadline_s
            )
        except AppError as error:
            _log.warning("videos are not verified", reason=error.reason.value)
            return Visible(await self._known.public(video_ids), is_verified=False)
        return Visible(facts, is_verified=True)


@dataclass(frozen=True, slots=True)
class KnownRelations:
    """A viewer's relations, and whether they are those of now."""

    relations: Relations
    is_fresh: bool
    is_known: bool = True
    """False: nothing is known at all."""

    @property
    def digest(self) -> int:
        """Names the relations: another one after a follow, a follow back, a block or a mute."""
        r = self.relations
        return (sum(r.followees) + 3 * sum(r.blocked) + 7 * sum(r.muted) + 11 * sum(r.friends)) & (2**62 - 1)


class RelationsReader:
    """Asks graph_svc at each page; when it is late or down, answers what it last said of this viewer."""

    def __init__(self, graph: RelationsSource, breaker: Breaker, deadline_s: float) -> None:
        self._graph = graph
        self._breaker = breaker
        self._deadline_s = deadline_s
        self._last: OrderedDict[int, Relations] = OrderedDict()

    async def of(self, viewer_id: int) -> KnownRelations:
        """The viewer's relations; none for nobody."""
        if not viewer_id:
            return KnownRelations(Relations(), is_fresh=True)
        try:
            relations = await self._breaker.call(lambda: self._graph.relations(viewer_id), deadline_s=self._deadline_s)
        except AppError as error:
            _log.warning("relations are not fresh", reason=error.reason.value)
            last = self._last.get(viewer_id)
            return KnownRelations(last or Relations(), is_fresh=False, is_known=last is not None)
        self._last[viewer_id] = relations
        self._last.move_to_end(viewer_id)
        if len(self._last) > REMEMBERED_VIEWERS:
            self._last.popitem(last=False)
        return KnownRelations(relations, is_fresh=True)
