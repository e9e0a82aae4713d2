"""Uploads as their owners see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from media_svc.blobs.store import BlobStore, NoSuchParts, PartStat, SignedPart
from media_svc.uploads.store import FINAL_STATES, UploadRow, UploadState, UploadStore
from svc_kit.caller import Caller
from svc_kit.clock import Clock
from svc_kit.errors import not_found
from svc_kit.wakeups import Wakeups

LEAST_PAUSE_S = 0.25
"""Changes of one upload are streamed at most this often."""
LOOK_AGAIN_S = 2.0
"""Wake-ups may be lost: a stream looks by itself this often."""


@dataclass(frozen=True, slots=True)
class PartView:
    """One part; `signed` is None unless it can be put now."""

    number: int
    size_bytes: int
    received: bool
    signed: SignedPart | None


@dataclass(frozen=True, slots=True)
class UploadView:
    """An upload as it stands."""

    row: UploadRow
    parts: tuple[PartView, ...]
    progress_percent: int


def topic_of(upload_id: int) -> str:
    """The topic of wake-ups of an upload."""
    return f"upload:{upload_id}"


class UploadQueries:
    """See `UploadService`."""

    def __init__(self, store: UploadStore, blobs: BlobStore, wakeups: Wakeups, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._wakeups = wakeups
        self._clock = clock

    async def uploads(self, caller: Caller, ids: Sequence[int], *, with_urls: bool = True) -> list[UploadView]:
        """The viewer's own uploads in the order asked; others are left out."""
        owner = caller.viewer()
        rows = {row.id: row for row in await self._store.uploads(list(ids)) if row.owner_id == owner}
        waiting = [row.set_id for row in rows.values() if row.state is UploadState.TRANSCODING]
        done = await self._store.set_progress(waiting)
        asked = [rows[upload_id] for upload_id in dict.fromkeys(ids) if upload_id in rows]
        return list(await asyncio.gather(*(self._view(row, done, with_urls) for row in asked)))

    async def upload(self, caller: Caller, upload_id: int, *, with_urls: bool = True) -> UploadView:
        """One upload of the viewer's own; raises NOT_FOUND."""
        found = await self.uploads(caller, [upload_id], with_urls=with_urls)
        if not found:
            raise not_found("upload_id", "upload")
        return found[0]

    async def stream(self, caller: Caller, upload_id: int) -> AsyncIterator[UploadView]:
        """The upload as it is and then as it changes, until it is final."""
        async with self._wakeups.listen(topic_of(upload_id)) as listener:
            last: UploadView | None = None
            while True:
                view = await self.upload(caller, upload_id, with_urls=False)
                if view != last:
                    yield view
                    last = view
                if view.row.state in FINAL_STATES:
                    return
                await self._clock.sleep(LEAST_PAUSE_S)
                await listener.wait(LOOK_AGAIN_S - LEAST_PAUSE_S)

    async def _view(self, row: UploadRow, done: dict[int, int], with_urls: bool) -> UploadView:
        present: dict[int, PartStat] = {}
        if row.state is UploadState.RECEIVING:
            present = {part.number: part for part in await self._blobs.list_parts(row.handle)}
        sign = with_urls and row.state is UploadState.RECEIVING
        parts = [await self._part(row, number, present, sign) for number in range(1, row.part_count + 1)]
        return UploadView(row, tuple(parts), _progress(row, parts, done))

    async def _part(self, row: UploadRow, number: int, present: dict[int, PartStat], sign: bool) -> PartView:
        size = row.part_bytes(number)
        digest = row.part_sha256[number - 1] if row.part_sha256 else ""
        signed = None
        if sign:
            # Begun in another store than the one of now: it can only be given up.
            with suppress(NoSuchParts):
                signed = await self._blobs.sign_part(row.handle, number, size, digest, row.expires_at_ms)
        # Once it is no longer receiving, all parts had come, but for one that was given up or failed.
        received = number in present or row.state in (
            UploadState.VERIFYING,
            UploadState.TRANSCODING,
            UploadState.READY,
        )
        return PartView(number, size, received, signed)


def _progress(row: UploadRow, parts: Sequence[PartView], done: dict[int, int]) -> int:
    if row.state is UploadState.READY:
        return 100
    if row.state is UploadState.RECEIVING:
        return min(99, sum(part.size_bytes for part in parts if part.received) * 100 // row.size_bytes)
    if row.state is UploadState.TRANSCODING:
        return min(99, done.get(row.set_id, 0))
    return min(99, row.progress_percent)
