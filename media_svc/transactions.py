"""One write transaction over all rows of this service: an upload, its set, its job and its video change together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from media_svc.jobs.stores.sql import SqlJobTx
from media_svc.transcode.stores.sql import SqlSetTx
from media_svc.uploads.stores.sql import SqlUploadTx
from media_svc.videos.store import VideoRow
from media_svc.videos.stores.sql import SqlVideoTx
from svc_kit.caller import Caller
from svc_kit.uow import UnitOfWork, begin


class SqlMediaTx(SqlUploadTx, SqlSetTx, SqlJobTx, SqlVideoTx):
    """Implements `UploadTx`, `SetTx`, `JobTx` and `VideoTx`."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.written_videos: dict[int, VideoRow] = {}

    async def add_video(self, row: VideoRow) -> None:
        await super().add_video(row)
        self.written_videos[row.id] = row

    async def save_video(self, row: VideoRow) -> None:
        await super().save_video(row)
        self.written_videos[row.id] = row


Committed = Callable[[Mapping[int, VideoRow]], Awaitable[None]]


class MediaTransactions:
    """Opens them. `committed` is told the videos that a transaction wrote, after its commit."""

    def __init__(self, uow: UnitOfWork, committed: Committed | None = None) -> None:
        self._uow = uow
        self._committed = committed

    @asynccontextmanager
    async def begin(self, caller: Caller) -> AsyncIterator[SqlMediaTx]:
        """Committed at the end, rolled back when the block raises."""
        async with begin(SqlMediaTx, self._uow, caller) as tx:
            yield tx
        if tx.written_videos and self._committed is not None:
            await self._committed(tx.written_videos)
