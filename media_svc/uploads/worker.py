"""Verifies completed uploads: joins their parts, checks the whole digest, and links them to the set of their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio

from media_svc.blobs.blocks import batches_of
from media_svc.blobs.store import BlobStore, NoSuchParts
from media_svc.jobs.runner import Retry, Stale
from media_svc.jobs.store import Job
from media_svc.transcode.store import AVATAR_FILE, SetFacts, SetRow, SetState, set_prefix
from media_svc.uploads.images import Avatar, BadImage, make_avatar
from media_svc.uploads.outcomes import AS_WORKER, Intake, IntakeTx, upload_failed, upload_ready, upload_waits
from media_svc.uploads.store import UploadRow, UploadState, UploadStore
from svc_kit.clock import Clock, now_ms

_TOLD_BYTES = 64 << 20
"""How much is verified between two reports of progress."""
_BATCH_BYTES = 4 << 20


class _Refused(Exception):
    """The bytes are not acceptable, and will not be at another attempt."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class UploadVerifier:
    """The work of `jobs.store.VERIFY`: each step can be done again after a crash.

    `changed` is told of the upload, `queued` when there is a transcode to do.
    """

    def __init__(
        self,
        store: UploadStore,
        intake: Intake,
        blobs: BlobStore,
        *,
        clock: Clock,
        threads: anyio.CapacityLimiter,
        max_image_pixels: int,
        avatar_side_px: int,
        changed: Callable[[int], Awaitable[None]],
        queued: Callable[[], None],
    ) -> None:
        self._store = store
        self._intake = intake
        self._blobs = blobs
        self._clock = clock
        self._threads = threads
        self._max_image_pixels = max_image_pixels
        self._avatar_side_px = avatar_side_px
        self._changed = changed
        self._queued = queued

    async def work(self, job: Job) -> None:
        """Verify one upload."""
        found = await self._store.uploads([job.subject_id])
        if not found or found[0].state is not UploadState.VERIFYING:
            return
        upload = found[0]
        try:
            used = await self._verify(job, upload)
        except _Refused as refused:
            await self._fail(job, upload, refused.code, refused.reason)
            used = False
        if not used:
            await self._blobs.delete(upload.blob_key)
        await self._changed(upload.id)

    async def give_up(self, job: Job, reason: str) -> None:
        """Verifying failed at every attempt."""
        found = await self._store.uploads([job.subject_id])
        if found and found[0].state is UploadState.VERIFYING:
            await self._fail(job, found[0], "VERIFICATION_FAILED", f"The upload could not be verified: {reason}")
            await self._changed(job.subject_id)

    async def _verify(self, job: Job, upload: UploadRow) -> bool:
        """Whether the upload's own bytes are kept: others' may have been there before."""
        try:
            stat = await self._blobs.join_parts(upload.handle, upload.blob_key, upload.part_count)
        except NoSuchParts:
            raise Retry("parts are missing") from None
        if stat.size_bytes != upload.size_bytes:
            message = f"The whole has {stat.size_bytes} bytes; {upload.size_bytes} were announced."
            raise _Refused("LENGTH_MISMATCH", message)
        digest = await self._digest(upload)
        if digest != upload.sha256:
            message = f"The bytes have the SHA-256 {digest}; {upload.sha256} was announced."
            raise _Refused("DIGEST_MISMATCH", message)
        avatar: Avatar | None = None
        if upload.is_image:
            async with self._blobs.as_file(upload.blob_key) as path:
                avatar = await self._avatar(path)
        return await self._link(job, upload, avatar)

    async def _digest(self, upload: UploadRow) -> str:
        """The blob's SHA-256 as it streams by, hashed on a thread; tells how far it is."""
        digest, done, told = hashlib.sha256(), 0, 0
        async with aclosing(self._blobs.read(upload.blob_key)) as chunks:
            async for pieces in batches_of(chunks, _BATCH_BYTES):
                await anyio.to_thread.run_sync(_update, digest, pieces, limiter=self._threads)
                done += sum(map(len, pieces))
                if done - told >= _TOLD_BYTES and done < upload.size_bytes:
                    told = done
                    await self._store.set_progress_percent(upload.id, min(99, done * 100 // upload.size_bytes))
                    await self._changed(upload.id)
        return digest.hexdigest()

    async def _avatar(self, path: Path) -> Avatar:
        def make() -> Avatar:
            return make_avatar(path, self._max_image_pixels, self._avatar_side_px)

        try:
            return await anyio.to_thread.run_sync(make, limiter=self._threads)
        except BadImage as error:
            raise _Refused(error.code, error.message) from None

    async def _link(self, job: Job, upload: UploadRow, avatar: Avatar | None) -> bool:
        if avatar is not None:
            # A set has the id of the upload that first brought its bytes, so its files may come before its row.
            await self._blobs.put_bytes(set_prefix(upload.id) + AVATAR_FILE, avatar.data)
        async with self._begun(job, upload) as (tx, row):
            known = await tx.set_of_digest(row.sha256)
            _check_kind(row, known)
            if await tx.is_banned(row.sha256):
                raise _Refused("BANNED", "These bytes were taken down before and can't be uploaded again.")
            media_set = known
            if media_set is None or media_set.state is SetState.FAILED:
                if known is not None:
                    await tx.delete_set(known.id)
                media_set = SetRow(row.id, row.sha256, row.is_image, SetState.PENDING, row.blob_key, row.size_bytes)
                await tx.add_set(media_set)
                if avatar is not None:
                    await tx.complete_set(media_set.id, SetFacts(0, avatar.side_px, avatar.side_px, has_audio=False))
                    media_set = replace(media_set, state=SetState.READY)
            if media_set.state is SetState.READY:
                await upload_ready(tx, row, media_set.id, now_ms(self._clock))
            else:
                await upload_waits(tx, row, media_set.id)
        self._queued()
        if avatar is not None and media_set.id != upload.id:
            await self._blobs.delete_prefix(set_prefix(upload.id))
        return media_set.blob_key == upload.blob_key

    async def _fail(self, job: Job, upload: UploadRow, code: str, reason: str) -> None:
        async with self._begun(job, upload) as (tx, row):
            await upload_failed(tx, row, code, reason)

    @asynccontextmanager
    async def _begun(self, job: Job, upload: UploadRow) -> AsyncIterator[tuple[IntakeTx, UploadRow]]:
        """A transaction in which the job is still ours and the upload still waits for it; else raises `Stale`."""
        async with self._intake.begin(AS_WORKER) as tx:
            row = await tx.upload(upload.id)
            if row is None or row.state is not UploadState.VERIFYING or not await tx.holds_job(job):
                raise Stale
            yield tx, row


def _check_kind(upload: UploadRow, known: SetRow | None) -> None:
    """Bytes that are known to be an image are no video, whatever their uploader says; nor the other way round."""
    if known is None or known.is_image == upload.is_image:
        return
    if known.is_image:
        raise _Refused("NOT_A_VIDEO", "The file is an image, not a video.")
    raise _Refused("NOT_AN_IMAGE", "The file is a video, not an image.")


def _update(digest: hashlib._Hash, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        digest.update(piece)
