"""What other services' events cause here: takedowns, and accounts that are gone."""

from __future__ import annotations

from collections.abc import Sequence

from media_svc.uploads.store import UploadStore
from media_svc.videos.commands import VideoCommands
from svc_kit.bus.runner import Envelope
from svc_kit.caller import Caller

GROUP = "media.videos"
TOPICS = ("moderation", "account")
_BATCH = 100


class VideoEvents:
    """Handles `moderation.video_removed` and `account.deleted`. Handling one again changes nothing."""

    def __init__(self, commands: VideoCommands, uploads: UploadStore) -> None:
        self._commands = commands
        self._uploads = uploads

    async def handle(self, batch: Sequence[Envelope]) -> None:
        """See `svc_kit.bus.runner.Handler`."""
        for envelope in batch:
            event = envelope.event
            caller = Caller(is_service=True, request_id=event.request_id)
            body = event.WhichOneof("body")
            if body == "moderation_video_removed":
                removed = event.moderation_video_removed
                await self._commands.take_down(caller, removed.video_id, removed.reason)
            elif body == "account_deleted":
                await self._forget(caller, event.account_deleted.account_id)

    async def _forget(self, caller: Caller, account_id: int) -> None:
        after = 0
        while rows := await self._uploads.uploads_of(account_id, after, _BATCH):
            for row in rows:
                await self._commands.delete_account(caller, row)
            after = rows[-1].id
