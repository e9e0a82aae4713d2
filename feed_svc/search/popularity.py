"""Takes views and followers over into the index: they decide among equally good matches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from feed_svc.search.store import AccountDirectory, Change, Key, Kind, SearchIndex, SetPopularity, Views, ViewsSource
from svc_kit.clock import Clock, now_ms
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

PAGE = 500
REMEMBERED = 100_000


class PopularityRefresher:
    """Writes a popularity when it has doubled, so that a video of a million views was written twenty times."""

    def __init__(
        self, index: SearchIndex, views: ViewsSource, accounts: AccountDirectory, clock: Clock, every_s: float
    ) -> None:
        self._index = index
        self._views = views
        self._accounts = accounts
        self._clock = clock
        self._every_s = every_s
        self._since = 0
        self._written: OrderedDict[Key, int] = OrderedDict()
        self._log = log(__name__)

    async def run(self) -> None:
        """Refresh until cancelled. A job, see `svc_kit.service.Job`."""
        while True:
            try:
                await self.refresh()
            except Exception as error:
                if not is_transient(error):
                    raise
                self._log.warning("popularity can't be refreshed", error=str(error))
            await self._clock.sleep(self._every_s)

    async def refresh(self) -> None:
        """Take over what changed since the last time; the first time, everything."""
        while True:
            page = await self._views.views_changed(self._since, PAGE)
            await self._take(page)
            # The same millisecond may hold more: it is asked for again, unless it fills a page by itself.
            last = page[-1].changed_at_ms if page else self._since
            self._since = last + 1 if len(page) == PAGE and last == self._since else last
            if len(page) < PAGE:
                self._since = min(self._since, now_ms(self._clock) - 1)
                return

    async def _take(self, page: Sequence[Views]) -> None:
        wanted: dict[Key, int] = {(Kind.VIDEO, str(video.video_id)): video.views for video in page}
        changed = {key: value for key, value in wanted.items() if self._is_news(key, value)}
        authors = sorted({video.author_id for video in page if (Kind.VIDEO, str(video.video_id)) in changed})
        followers = await self._accounts.follower_counts(authors) if authors else {}
        for author_id, count in followers.items():
            key = (Kind.USER, str(author_id))
            if self._is_news(key, count):
                changed[key] = count
        writes: list[Change] = [SetPopularity(key, value) for key, value in changed.items()]
        if writes:
            await self._index.write(writes)
        for key, value in changed.items():
            self._written[key] = value.bit_length()
            self._written.move_to_end(key)
        while len(self._written) > REMEMBERED:
            self._written.popitem(last=False)

    def _is_news(self, key: Key, value: int) -> bool:
        return self._written.get(key) != max(0, value).bit_length()
