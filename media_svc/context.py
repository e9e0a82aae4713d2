"""What the domains of this service are wired from, and share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from media_svc.blobs.store import BlobStore
from media_svc.delivery.urls import UrlSigner
from media_svc.play_names import PlayNames
from media_svc.settings import MediaSettings
from media_svc.transactions import MediaTransactions
from media_svc.uploads.queries import topic_of
from media_svc.videos.store import VideoRow
from svc_kit.db import Database
from svc_kit.last_known import LastKnown
from svc_kit.service import Platform
from svc_kit.uow import UnitOfWork
from svc_kit.wakeups import Wakeups


@dataclass(frozen=True, slots=True)
class MediaContext:
    """Dependencies of every domain."""

    platform: Platform
    settings: MediaSettings
    db: Database
    uow: UnitOfWork
    intake: MediaTransactions
    known_videos: LastKnown[VideoRow]
    play_names: PlayNames
    blobs: BlobStore
    wakeups: Wakeups
    urls: UrlSigner
    doorbells: list[Callable[[], None]] = field(default_factory=list)
    """Rung when there may be a job to do."""

    @property
    def secret(self) -> bytes:
        """Signs tokens."""
        return self.platform.settings.secret.get_secret_value().encode()

    def ring(self) -> None:
        """There may be a job to do."""
        for ring in self.doorbells:
            ring()

    async def changed(self, upload_id: int) -> None:
        """An upload moved: wake who streams it, here and elsewhere, and look for jobs."""
        self.ring()
        await self.wakeups.wake([topic_of(upload_id)])
