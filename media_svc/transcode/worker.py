"""Makes the renditions of media sets, and tells the uploads that wait for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from media_svc.blobs.store import NoSuchBlob
from media_svc.jobs.runner import Retry, Stale
from media_svc.jobs.store import Job
from media_svc.transcode.engine.errors import MediaRejected, ToolsMissing, TranscodeFailed
from media_svc.transcode.engine.runner import OnProgress
from media_svc.transcode.store import SetFacts, SetRow, SetState, SetStore
from media_svc.transcode.transcoder import Transcoder
from media_svc.uploads.outcomes import AS_WORKER, Intake, IntakeTx, upload_failed, upload_ready
from media_svc.uploads.store import UploadState
from svc_kit.clock import Clock, now_ms
from svc_kit.faults import CrashPoint
from svc_kit.telemetry import log

_log = log(__name__)
LEAST_PROGRESS_S = 0.25
"""Progress is told at most this often."""


class _TakenDown(Exception):
    """A moderator banned the digest while it was transcoded."""


class TranscodeWorker:
    """The work of `jobs.store.TRANSCODE`. A killed attempt leaves nothing but files that the next one replaces."""

    def __init__(
        self,
        sets: SetStore,
        intake: Intake,
        transcoder: Transcoder,
        clock: Clock,
        crash_point: CrashPoint,
        changed: Callable[[int], Awaitable[None]],
    ) -> None:
        self._sets = sets
        self._intake = intake
        self._transcoder = transcoder
        self._clock = clock
        self._crash_point = crash_point
        self._changed = changed

    async def work(self, job: Job) -> None:
        """Make one set. A fault of the file is final; of the machine, `Retry`."""
        media_set = await self._sets.media_set(job.subject_id)
        if media_set is None or media_set.state is not SetState.PENDING:
            return
        try:
            facts = await self._transcoder.transcode(media_set, self._progress(media_set))
        except MediaRejected as error:
            await self._fail(job, error.code.value, error.message)
        except TranscodeFailed as error:
            _log.warning("transcode failed", set_id=media_set.id, retryable=error.retryable, detail=error.detail)
            if error.retryable:
                raise Retry(error.message) from error
            await self._fail(job, error.code.value if error.code else "TRANSCODE_FAILED", error.message)
        except ToolsMissing as error:
            _log.error("no usable ffmpeg", detail=str(error))
            raise Retry("Videos can't be converted here at the moment.") from error
        except NoSuchBlob as error:
            raise Retry("The uploaded bytes are not there.") from error
        else:
            try:
                await self._complete(job, facts)
            except _TakenDown:
                await self._fail(job, "BANNED", "These bytes were taken down and can't be uploaded again.")

    async def give_up(self, job: Job, reason: str) -> None:
        """It failed at every attempt."""
        await self._fail(job, "TRANSCODE_FAILED", reason)

    def _progress(self, media_set: SetRow) -> OnProgress:
        told_at = float("-inf")
        started = False

        async def tell(percent: int) -> None:
            nonlocal told_at, started
            if not started:
                started = True
                await self._crash_point("transcode.running")
            if self._clock.monotonic() - told_at < LEAST_PROGRESS_S:
                return
            told_at = self._clock.monotonic()
            waiting = await self._sets.note_progress(media_set.id, min(percent, 99))
            if not waiting:
                # Everybody who wanted it has given it up: stop the child now, not at the next heartbeat.
                raise Stale
            for upload_id in waiting:
                await self._changed(upload_id)

        return tell

    async def _complete(self, job: Job, facts: SetFacts) -> None:
        moved = []
        async with self._claimed(job) as (tx, media_set):
            if await tx.is_banned(media_set.digest):
                raise _TakenDown
            await tx.complete_set(media_set.id, facts)
            for upload in await tx.uploads_of_set(media_set.id):
                if upload.state is UploadState.TRANSCODING:
                    await upload_ready(tx, upload, media_set.id, now_ms(self._clock))
                    moved.append(upload.id)
            await tx.remove_job(job.kind, job.subject_id)
        await self._tell(moved)

    async def _fail(self, job: Job, code: str, reason: str) -> None:
        moved = []
        async with self._claimed(job) as (tx, media_set):
            await tx.fail_set(media_set.id, code, reason)
            for upload in await tx.uploads_of_set(media_set.id):
                if upload.state is UploadState.TRANSCODING:
                    await upload_failed(tx, upload, code, reason)
                    moved.append(upload.id)
            await tx.remove_job(job.kind, job.subject_id)
        await self._tell(moved)

    @asynccontextmanager
    async def _claimed(self, job: Job) -> AsyncIterator[tuple[IntakeTx, SetRow]]:
        """A transaction in which the job is still ours; else raises `Stale`."""
        async with self._intake.begin(AS_WORKER) as tx:
            media_set = await tx.media_set(job.subject_id)
            if media_set is None or not await tx.holds_job(job):
                raise Stale
            yield tx, media_set

    async def _tell(self, uploads: list[int]) -> None:
        for upload_id in uploads:
            await self._changed(upload_id)
