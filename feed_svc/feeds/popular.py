"""The last resort: popular and new videos in a process's memory, for when everything else is gone."""

from __future__ import annotations

from collections.abc import Sequence

from feed_svc.feeds.sources import POPULAR
from feed_svc.feeds.store import Candidate, KnownVideos, TrendingSource
from svc_kit.clock import Clock
from svc_kit.errors import AppError
from svc_kit.telemetry import log

_log = log(__name__)


class PopularList:
    """Trending videos, then the newest ones. Kept by `run`; readable whatever is down."""

    def __init__(self, known: KnownVideos, trending: TrendingSource | None, clock: Clock, entries: int) -> None:
        self._known = known
        self._trending = trending
        self._clock = clock
        self._limit = entries
        self._entries: tuple[Candidate, ...] = ()

    def candidates(self) -> Sequence[Candidate]:
        """Best first."""
        return self._entries

    async def refresh(self) -> None:
        """Read them anew; what can't be read stays as it was."""
        try:
            top = await self._trending.top(self._limit) if self._trending else []
            newest = await self._known.newest(self._limit)
            public = await self._known.public([video_id for video_id, _, _ in top]) if top else {}
        except AppError as error:
            _log.warning("popular list not refreshed", reason=error.reason.value)
            return
        heat = {video_id: score for video_id, _, score in top}
        videos = {v: public[v] for v, _, _ in top if v in public} | {video.video_id: video for video in newest}
        self._entries = tuple(
            Candidate(video.video_id, video.author_id, POPULAR, heat.get(video.video_id, 0.0), hashtags=video.hashtags)
            for video in list(videos.values())[: self._limit]
        )

    async def run(self, every_s: float) -> None:
        """Refresh now and then, until cancelled."""
        while True:
            await self.refresh()
            await self._clock.sleep(every_s)
