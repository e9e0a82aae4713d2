"""Videos, and what was last known of them while their database can't be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from media_svc.play_names import PlayNames
from media_svc.videos.store import VideoRow, VideoStore
from svc_kit.errors import AppError
from svc_kit.last_known import TRUTH_S, LastKnown, within
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

_log = log(__name__)


class RememberedVideos:
    """A `VideoStore` whose reads by id outlive an outage of truth: visibility is decided as always, by the newest state
    that is known; a video of which nothing is known is not there."""

    def __init__(self, store: VideoStore, known: LastKnown[VideoRow], names: PlayNames) -> None:
        self._store = store
        self._known = known
        self._names = names

    async def videos(self, ids: Sequence[int]) -> Sequence[VideoRow]:
        try:
            async with within(TRUTH_S):
                rows = await self._store.videos(ids)
        except AppError as error:
            if not is_transient(error) or not ids:
                raise
            _log.warning("videos are answered from what was known", reason=error.reason.value)
            rows = list((await self._known.recall(ids)).values())
        else:
            await self._known.remember({row.id: row for row in rows})
        # Whoever reads a video may play it next.
        await self._names.meet({row.play_id: row.id for row in rows if row.play_id})
        return rows

    async def author_videos(self, author_id: int, least_audience: int, before_id: int, limit: int) -> Sequence[int]:
        return await self._store.author_videos(author_id, least_audience, before_id, limit)

    async def counts(self, author_ids: Sequence[int]) -> Mapping[int, int]:
        return await self._store.counts(author_ids)

    async def published(self, after_id: int, limit: int) -> Sequence[VideoRow]:
        return await self._store.published(after_id, limit)
