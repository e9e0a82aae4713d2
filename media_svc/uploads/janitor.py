"""Gives up what nobody finishes, and removes what nobody uses. Everything it does can be done again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from media_svc.blobs.store import BlobStore
from media_svc.transcode.store import SetStore
from media_svc.uploads.outcomes import AS_WORKER, Intake, upload_aborted
from media_svc.uploads.store import UploadState, UploadStore
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError
from svc_kit.telemetry import log
from svc_kit.uow import UnitOfWork

_log = log(__name__)
BATCH = 200
ORPHANS_S = 3600.0
"""How often the store is searched for what no row knows, and how old such a thing is at least."""


@dataclass(frozen=True, slots=True)
class JanitorTimes:
    """Seconds between rounds, and how long unused sets are kept."""

    every_s: float
    kept_unreferenced_s: int


class Janitor:
    """A worker, see `svc_kit.service.Worker`."""

    def __init__(
        self,
        uploads: UploadStore,
        sets: SetStore,
        intake: Intake,
        blobs: BlobStore,
        uow: UnitOfWork,
        clock: Clock,
        times: JanitorTimes,
        changed: Callable[[int], Awaitable[None]],
    ) -> None:
        self._uploads = uploads
        self._sets = sets
        self._intake = intake
        self._blobs = blobs
        self._uow = uow
        self._clock = clock
        self._times = times
        self._changed = changed
        self._searched_at = float("-inf")

    async def run(self) -> None:
        """One round after another, until cancelled."""
        while True:
            try:
                await self.round()
            except AppError as error:
                _log.warning("janitor could not finish its round", reason=error.reason.value, failure=error.message)
            await self._clock.sleep(self._times.every_s)

    async def round(self) -> None:
        """Everything that is due now."""
        await self._expire()
        await self._remove_unused()
        await self._uow.prune_replies()
        if self._clock.monotonic() - self._searched_at >= ORPHANS_S:
            self._searched_at = self._clock.monotonic()
            await self._drop_abandoned_parts()
            await self._remove_orphans()

    async def _expire(self) -> None:
        for upload_id in await self._uploads.expired(now_ms(self._clock), BATCH):
            async with self._intake.begin(AS_WORKER) as tx:
                row = await tx.upload(upload_id)
                due = row is not None and row.expires_at_ms <= now_ms(self._clock)
                if row is None or row.state is not UploadState.RECEIVING or not due:
                    continue
                await upload_aborted(tx, row, "The upload was not finished in time.")
            await self._blobs.drop_parts(row.handle)
            await self._changed(upload_id)

    async def _remove_unused(self) -> None:
        since = now_ms(self._clock) - self._times.kept_unreferenced_s * 1000
        for set_id in await self._sets.unused_sets(since, BATCH):
            async with self._intake.begin(AS_WORKER) as tx:
                retired = await tx.retire_set(set_id, since)
            if retired is None:
                continue
            await self._blobs.delete_prefix(retired.prefix)
            await self._blobs.delete(retired.blob_key)
            async with self._intake.begin(AS_WORKER) as tx:
                # Its row goes last: after a crash the next round finds it again.
                if await tx.retire_set(set_id, since) is not None:
                    await tx.delete_set(set_id)

    async def _drop_abandoned_parts(self) -> None:
        begun_before = now_ms(self._clock) - round(ORPHANS_S * 1000)
        handles = await self._blobs.abandoned_parts(begun_before)
        for start in range(0, len(handles), BATCH):
            some = handles[start : start + BATCH]
            used = await self._uploads.handles_in_use(some)
            for handle in some:
                if handle not in used:
                    await self._blobs.drop_parts(handle)

    async def _remove_orphans(self) -> None:
        """Joined bytes whose upload came to nothing, in a crash between the two."""
        before, after = now_ms(self._clock) - round(ORPHANS_S * 1000), ""
        while found := await self._blobs.list("originals/", after, BATCH):
            after = found[-1].key
            old = [blob.key for blob in found if blob.modified_at_ms < before]
            known = await self._sets.known_blobs(old)
            strays = {int(key.partition("/")[2]): key for key in old if key not in known}
            verifying = {u.id for u in await self._uploads.uploads(list(strays)) if u.state is UploadState.VERIFYING}
            for upload_id, key in strays.items():
                if upload_id not in verifying:
                    await self._blobs.delete(key)
