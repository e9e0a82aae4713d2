"""Videos without bytes: the rows of an upload that was transcoded, then published through the public API."""

from __future__ import annotations

import hashlib

from bench.simulate.plan import Clip
from media_svc.schema import outbox, replies
from media_svc.transactions import MediaTransactions
from media_svc.transcode.store import SetFacts, SetRendition, SetRow, SetState
from media_svc.uploads.outcomes import AS_WORKER
from media_svc.uploads.store import UploadRow, UploadState
from svc_kit.db import Database
from svc_kit.service import Platform
from svc_kit.uow import UnitOfWork

RENDITION = SetRendition(360, 640, "avc1.64001f", 400)
PART_BYTES = 5 << 20


class Library:
    """Uploads that are READY at once. Clips of one length share one media set, as equal bytes do."""

    def __init__(self, platform: Platform, media: Database) -> None:
        self._ids = platform.ids
        self._intake = MediaTransactions(UnitOfWork(media, outbox, replies, platform.ids, platform.clock))
        self._sets: dict[int, int] = {}

    async def upload(self, owner_id: int, clip: Clip) -> int:
        """The id of a READY upload of this owner."""
        duration_ms = clip.kind.duration_ms
        digest = hashlib.sha256(str(duration_ms).encode()).hexdigest()
        upload_id = self._ids.next()
        async with self._intake.begin(AS_WORKER) as tx:
            set_id = self._sets.get(duration_ms)
            if set_id is None:
                set_id = self._sets[duration_ms] = self._ids.next()
                await tx.add_set(SetRow(set_id, digest, False, SetState.PENDING, f"originals/{upload_id}", 1))
                await tx.complete_set(set_id, SetFacts(duration_ms, 360, 640, True, (RENDITION,)))
            await tx.add_upload(
                UploadRow(
                    upload_id,
                    owner_id,
                    is_image=False,
                    state=UploadState.READY,
                    file_name=f"{clip.number}.mp4",
                    content_type="video/mp4",
                    size_bytes=1,
                    part_size_bytes=PART_BYTES,
                    sha256=digest,
                    part_sha256=(),
                    handle="",
                    set_id=set_id,
                    video_id=0,
                    progress_percent=100,
                    failure_code="",
                    failure_reason="",
                    expires_at_ms=0,
                )
            )
            await tx.hold_set(set_id, upload_id)
        return upload_id
