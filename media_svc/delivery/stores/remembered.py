"""Names in URLs, and what was last known of them while their database can't be read."""

from __future__ import annotations

from media_svc.delivery.store import Playable, PlaybackDirectory
from media_svc.play_names import PlayNames
from media_svc.videos.store import VideoRow, VideoState, Visibility
from svc_kit.errors import AppError
from svc_kit.last_known import TRUTH_S, LastKnown, within
from svc_kit.telemetry import log
from svc_kit.transient import is_transient

_log = log(__name__)


class RememberedDirectory:
    """A `PlaybackDirectory` whose names outlive an outage of truth: a name that any replica gave out or played within
    a day leads to its video, and what is known of that decides: one that is deleted, taken down or no longer of this
    name is not there."""

    def __init__(self, directory: PlaybackDirectory, known: LastKnown[VideoRow], names: PlayNames) -> None:
        self._directory = directory
        self._known = known
        self._names = names

    async def playable(self, play_id: str) -> Playable | None:
        try:
            async with within(TRUTH_S):
                found = await self._directory.playable(play_id)
        except AppError as error:
            if not is_transient(error):
                raise
            _log.info("a playback name is answered from what was known", reason=error.reason.value)
            return await self._last_known(play_id, error)
        if found is not None:
            await self._names.meet({play_id: found.video_id})
        return found

    async def avatar_set(self, key: str) -> int:
        return await self._directory.avatar_set(key)

    async def _last_known(self, play_id: str, error: AppError) -> Playable | None:
        video_id = await self._names.video(play_id)
        row = (await self._known.recall([video_id])).get(video_id) if video_id else None
        if row is None:
            # Nobody here knows whether it may be played: that is no answer, and neither yes nor no.
            raise error
        if row.state is not VideoState.READY or row.play_id != play_id:
            return None
        return Playable(row.id, row.set_id, row.visibility is Visibility.PUBLIC)
