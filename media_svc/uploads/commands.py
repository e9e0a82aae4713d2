"""Beginning, completing and giving up uploads."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from media_svc.blobs.store import BlobStore
from media_svc.jobs.store import VERIFY
from media_svc.transcode.store import SetState
from media_svc.uploads.intents import Intent, UploadLimits, check_intent
from media_svc.uploads.outcomes import Intake, IntakeTx, upload_aborted, upload_ready
from media_svc.uploads.store import UploadRow, UploadState, UploadStore
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import UserCode, conflict, invalid, not_found, unavailable
from svc_kit.ids import IdGenerator
from svc_kit.limits import Limit, RateLimiter
from svc_kit.uow import UnitOfWork, idempotent

_MISSING_NAMED = 20


@dataclass(frozen=True, slots=True)
class UploadRef:
    """What is stored under an idempotency key: an upload's URLs are made fresh for each answer."""

    upload_id: int


class UploadCommands:
    """See `UploadService`. `changed` tells listeners and the workers that an upload moved."""

    def __init__(
        self,
        store: UploadStore,
        intake: Intake,
        blobs: BlobStore,
        *,
        replies: UnitOfWork,
        ids: IdGenerator,
        clock: Clock,
        limits: UploadLimits,
        limiter: RateLimiter,
        rate: Limit,
        avatar_url: Callable[[str], str],
        changed: Callable[[int], Awaitable[None]],
    ) -> None:
        self._store = store
        self._intake = intake
        self._blobs = blobs
        self.replies = replies
        self._ids = ids
        self._clock = clock
        self._limits = limits
        self._limiter = limiter
        self._rate = rate
        self._avatar_url = avatar_url
        self._changed = changed

    @idempotent
    async def begin_upload(
        self,
        caller: Caller,
        *,
        file_name: str,
        content_type: str,
        size_bytes: int,
        sha256: str,
        part_sha256: tuple[str, ...],
    ) -> UploadRef:
        """A new upload, or the viewer's open one of the same digest. Raises BAD_USER_INPUT, RATE_LIMITED, CONFLICT."""
        owner = caller.viewer()
        intent = check_intent(self._limits, file_name, content_type, size_bytes, sha256, part_sha256)
        await self._limiter.take(self._rate, str(owner))
        own_set = await self._store.ready_set_of(owner, intent.sha256, intent.size_bytes, intent.is_image)
        upload_id = self._ids.next()
        handle = "" if own_set else await self._begin_parts(f"originals/{upload_id}", intent.part_sha256)
        used = False
        try:
            async with self._intake.begin(caller) as tx:
                kept = await self._keep(tx, owner, upload_id, intent, handle, own_set)
                used = kept.handle == handle
                return await tx.reply(UploadRef(kept.id))
        finally:
            if handle and not used:
                await self._blobs.drop_parts(handle)

    async def _begin_parts(self, key: str, part_sha256: tuple[str, ...]) -> str:
        return await self._blobs.begin_parts(key, with_digests=bool(part_sha256))

    async def _keep(
        self, tx: IntakeTx, owner: int, upload_id: int, intent: Intent, handle: str, own_set: int
    ) -> UploadRow:
        expires = now_ms(self._clock) + self._limits.ttl_s * 1000
        found = await tx.open_upload_of(owner, intent.sha256, intent.size_bytes, intent.is_image)
        if found is not None:
            return await self._resume(tx, found, intent, expires)
        usage = await tx.usage(owner)
        if usage.open_count >= self._limits.open_uploads:
            count = usage.open_count
            raise conflict("sha256", f"At most {self._limits.open_uploads} uploads may be open; {count} are.")
        left = self._limits.quota_bytes - usage.kept_bytes
        if intent.size_bytes > left:
            message = f"size_bytes must be at most {max(left, 0)}, the rest of your quota; it is {intent.size_bytes}."
            raise invalid("size_bytes", message, UserCode.TOO_LARGE)
        row = _new_upload(upload_id, owner, intent, handle, expires)
        await tx.add_upload(row)
        if own_set:
            # These bytes came from this viewer before and are there: nothing need come again.
            ready = await tx.media_set(own_set)
            if ready is None or ready.state is not SetState.READY or await tx.is_banned(intent.sha256):
                raise unavailable("The upload changed meanwhile; begin it again.")
            await upload_ready(tx, row, own_set, now_ms(self._clock))
        return row

    async def _resume(self, tx: IntakeTx, found: UploadRow, intent: Intent, expires: int) -> UploadRow:
        if found.state is not UploadState.RECEIVING:
            return found
        part_sha256 = intent.part_sha256 or found.part_sha256
        handle = found.handle
        if part_sha256 and not found.part_sha256:
            # Parts are begun with digests or without: what came without is given up, the janitor removes it.
            handle = await self._begin_parts(found.blob_key, part_sha256)
        resumed = replace(found, handle=handle, part_sha256=part_sha256, expires_at_ms=expires)
        await tx.save_upload(resumed)
        return resumed

    @idempotent
    async def complete_upload(self, caller: Caller, upload_id: int) -> UploadRef:
        """Close an upload whose parts are all there. INCOMPLETE names missing parts."""
        upload = await self._own(caller, upload_id)
        if upload.state is UploadState.RECEIVING:
            await self._check_parts(upload)
        async with self._intake.begin(caller) as tx:
            row = await tx.upload(upload_id)
            if row is None:
                raise not_found("upload_id", "upload")
            if row.state in (UploadState.FAILED, UploadState.ABORTED):
                raise conflict("upload_id", _over(row))
            if row.state is UploadState.RECEIVING:
                await tx.save_upload(replace(row, state=UploadState.VERIFYING, progress_percent=0))
                await tx.enqueue_job(VERIFY, row.id)
            result = await tx.reply(UploadRef(upload_id))
        await self._changed(upload_id)
        return result

    async def _check_parts(self, upload: UploadRow) -> None:
        present = {part.number for part in await self._blobs.list_parts(upload.handle)}
        missing = [str(number) for number in range(1, upload.part_count + 1) if number not in present]
        if missing:
            named = ", ".join(missing[:_MISSING_NAMED]) + (", ..." if len(missing) > _MISSING_NAMED else "")
            count = f"{len(missing)} of {upload.part_count} parts are missing: {named}."
            raise conflict("upload_id", count, UserCode.INCOMPLETE)

    @idempotent
    async def abort_upload(self, caller: Caller, upload_id: int) -> UploadRef:
        """Give an open upload up; a READY or FAILED one is CONFLICT."""
        upload = await self._own(caller, upload_id)
        async with self._intake.begin(caller) as tx:
            row = await tx.upload(upload_id)
            if row is None:
                raise not_found("upload_id", "upload")
            if row.state in (UploadState.READY, UploadState.FAILED):
                raise conflict("upload_id", _over(row))
            if row.state is not UploadState.ABORTED:
                await upload_aborted(tx, row)
            result = await tx.reply(UploadRef(upload_id))
        await self._blobs.drop_parts(upload.handle)
        await self._changed(upload_id)
        return result

    async def claim_avatar(self, caller: Caller, upload_id: int) -> str:
        """The lasting, public URL of a READY image of the viewer's own."""
        await self._own(caller, upload_id)
        async with self._intake.begin(caller) as tx:
            row = await tx.upload(upload_id)
            if row is None or not row.is_image:
                raise invalid("upload_id", "The upload is not an image.")
            if row.state is not UploadState.READY or not row.set_id:
                raise conflict("upload_id", f"The upload is {row.state}; an avatar needs a READY one.")
            return self._avatar_url(await tx.claim_avatar(row, secrets.token_urlsafe(16)))

    async def _own(self, caller: Caller, upload_id: int) -> UploadRow:
        found = await self._store.uploads([upload_id])
        if not found or found[0].owner_id != caller.viewer():
            raise not_found("upload_id", "upload")
        return found[0]


def _new_upload(upload_id: int, owner: int, intent: Intent, handle: str, expires_at_ms: int) -> UploadRow:
    return UploadRow(
        id=upload_id,
        owner_id=owner,
        is_image=intent.is_image,
        state=UploadState.RECEIVING,
        file_name=intent.file_name,
        content_type=intent.content_type,
        size_bytes=intent.size_bytes,
        part_size_bytes=intent.part_size_bytes,
        sha256=intent.sha256,
        part_sha256=intent.part_sha256,
        handle=handle,
        set_id=0,
        video_id=0,
        progress_percent=0,
        failure_code="",
        failure_reason="",
        expires_at_ms=expires_at_ms,
    )


def _over(row: UploadRow) -> str:
    if row.state is UploadState.FAILED:
        return f"The upload has failed: {row.failure_reason}"
    if row.state is UploadState.ABORTED:
        return "The upload was given up; begin again."
    return "The upload is READY and can't be given up; delete its video instead."
