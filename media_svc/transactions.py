"""One write transaction over all rows of this service: an upload, its set, its job and its video change together."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from media_svc.jobs.stores.sql import SqlJobTx
from media_svc.transcode.stores.sql import SqlSetTx
from media_svc.uploads.stores.sql import SqlUploadTx
from media_svc.videos.stores.sql import SqlVideoTx
from svc_kit.caller import Caller
from svc_kit.uow import UnitOfWork, begin


class SqlMediaTx(SqlUploadTx, SqlSetTx, SqlJobTx, SqlVideoTx):
    """Implements `UploadTx`, `SetTx`, `JobTx` and `VideoTx`."""


class MediaTransactions:
    """Opens them."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[SqlMediaTx]:
        """Committed at the end, rolled back when the block raises."""
        return begin(SqlMediaTx, self._uow, caller)
