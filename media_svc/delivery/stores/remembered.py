"""Names in URLs, and what was last known of them while their database can't be read."""

from __future__ import annotations

from collections import OrderedDict

from media_svc.delivery.store import Playable, PlaybackDirectory
from media_svc.videos.store import VideoRow, VideoState, Visibility
from svc_kit.cache import Cache, CacheError
from svc_kit.errors import AppError
from svc_kit.last_known import TRUTH_S, LastKnown, within
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

ENTRIES = 20_000
KEPT_MS = 24 * 3600 * 1000
_log = log(__name__)


class RememberedDirectory:
    """A `PlaybackDirectory` whose names outlive an outage of truth: a name that was played within a day, by any
    replica, leads to its video, and what is known of that decides: one that is deleted, taken down or no longer of this
    name is not there."""

    def __init__(self, directory: PlaybackDirectory, known: LastKnown[VideoRow], cache: Cache) -> None:
        self._directory = directory
        self._known = known
        self._cache = cache
        self._videos: OrderedDict[str, int] = OrderedDict()

    async def playable(self, play_id: str) -> Playable | None:
        try:
            async with within(TRUTH_S):
                found = await self._directory.playable(play_id)
        except AppError as error:
            if not is_transient(error):
                raise
            return await self._last_known(play_id, error)
        if found is not None and self._videos.get(play_id) != found.video_id:
            await self._remember(play_id, found.video_id)
        return found

    async def avatar_set(self, key: str) -> int:
        return await self._directory.avatar_set(key)

    async def _remember(self, play_id: str, video_id: int) -> None:
        self._videos[play_id] = video_id
        if len(self._videos) > ENTRIES:
            self._videos.popitem(last=False)
        try:
            await self._cache.set(_key(play_id), str(video_id), ttl_ms=KEPT_MS)
        except CacheError as error:
            _log.info("a playback name was not shared", error=str(error))

    async def _last_known(self, play_id: str, error: AppError) -> Playable | None:
        video_id = self._videos.get(play_id) or await self._shared(play_id)
        row = (await self._known.recall([video_id])).get(video_id) if video_id else None
        if row is None:
            # Nobody here knows whether it may be played: that is no answer, and neither yes nor no.
            raise error
        if row.state is not VideoState.READY or row.play_id != play_id:
            return None
        return Playable(row.id, row.set_id, row.visibility is Visibility.PUBLIC)

    async def _shared(self, play_id: str) -> int:
        try:
            return int(await self._cache.get(_key(play_id)) or 0)
        except CacheError:
            return 0


def _key(play_id: str) -> str:
    return f"known:play:{play_id}"
