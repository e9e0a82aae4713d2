"""What an upload comes to, and what its published video then is: both change in one transaction."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Protocol

from media_svc.jobs.store import TRANSCODE, VERIFY, JobTx
from media_svc.transcode.store import SetTx
from media_svc.uploads.store import OPEN_STATES, UploadRow, UploadState, UploadTx
from media_svc.videos import lifecycle
from media_svc.videos.store import VideoTx
from svc_kit.caller import Caller

AS_WORKER = Caller(is_service=True)
"""Who writes when no request does."""

GIVEN_UP = "The upload was given up."


class IntakeTx(UploadTx, SetTx, JobTx, VideoTx, Protocol):
    """All rows that an upload's way may touch."""


class Intake(Protocol):
    """Opens transactions over them."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[IntakeTx]:
        """Committed at the end, rolled back when the block raises."""
        ...


async def upload_ready(tx: IntakeTx, upload: UploadRow, set_id: int, now_ms: int) -> None:
    """Its set is READY: so is the upload, and its video when there is one."""
    await tx.hold_set(set_id, upload.id)
    await tx.save_upload(replace(upload, state=UploadState.READY, set_id=set_id, progress_percent=100))
    video = await tx.video_of_upload(upload.id)
    if video is not None:
        await lifecycle.make_ready(tx, video, set_id, now_ms)


async def upload_waits(tx: IntakeTx, upload: UploadRow, set_id: int) -> None:
    """Its set is yet to be made."""
    await tx.hold_set(set_id, upload.id)
    await tx.save_upload(replace(upload, state=UploadState.TRANSCODING, set_id=set_id, progress_percent=0))
    await tx.enqueue_job(TRANSCODE, set_id)


async def upload_failed(tx: IntakeTx, upload: UploadRow, code: str, reason: str) -> None:
    """It failed for good, and so did its video."""
    await _end(tx, upload, UploadState.FAILED, code, reason)


async def upload_aborted(tx: IntakeTx, upload: UploadRow, reason: str = GIVEN_UP) -> None:
    """Its owner gave it up, or it expired. Nobody else waiting for its transcode: that stops."""
    await _end(tx, upload, UploadState.ABORTED, "", reason)


async def release_upload(tx: IntakeTx, upload: UploadRow) -> None:
    """Its owner deleted what it came to: its bytes are no longer kept for it, and no upload begins with them."""
    if upload.state is UploadState.READY:
        await _let_go(tx, upload)
        await tx.save_upload(replace(upload, set_id=0))
        await tx.drop_avatar(upload.id)
    elif upload.state in OPEN_STATES:
        await upload_aborted(tx, upload)


async def _end(tx: IntakeTx, upload: UploadRow, state: UploadState, code: str, reason: str) -> None:
    await _let_go(tx, upload)
    told = reason if state is UploadState.FAILED else ""
    await tx.save_upload(replace(upload, state=state, progress_percent=0, failure_code=code, failure_reason=told))
    video = await tx.video_of_upload(upload.id)
    if video is not None:
        await lifecycle.make_failed(tx, video, reason)


async def _let_go(tx: IntakeTx, upload: UploadRow) -> None:
    await tx.remove_job(VERIFY, upload.id)
    if upload.set_id and await tx.drop_set(upload.set_id, upload.id) == 0:
        await tx.remove_job(TRANSCODE, upload.set_id)
