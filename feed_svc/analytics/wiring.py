"""The archive, composed."""

from __future__ import annotations

from dataclasses import dataclass

from feed_svc.analytics.queries import ArchiveQueries
from feed_svc.analytics.store import Archive
from feed_svc.analytics.stores import ARCHIVE_SCHEMES, ARCHIVE_SETTING, archive_url
from feed_svc.analytics.worker import GROUP, ArchiveWorker
from feed_svc.context import Domain, FeedContext
from svc_kit.backends import resolve
from svc_kit.service import Job


@dataclass(frozen=True, slots=True)
class Analytics:
    """The wired domain, and what it offers to others."""

    domain: Domain
    history: ArchiveQueries
    """`EventHistory` of trending."""


async def build_analytics(context: FeedContext) -> Analytics:
    """The archive worker and the archive's reader."""
    platform, settings = context.platform, context.settings
    url = archive_url(settings.archive_url, platform.settings)
    setting = ARCHIVE_SETTING if settings.archive_url else "REELGRAPH_BLOBS_URL"
    archive: Archive = await resolve(setting, url, ARCHIVE_SCHEMES).open(url)
    context.stack.push_async_callback(archive.close)
    worker = ArchiveWorker(
        platform.bus,
        archive,
        platform.clock,
        flush_events=settings.archive_flush_events,
        flush_s=settings.archive_flush_s,
    )
    domain = Domain(workers=[Job(GROUP, worker.run)], checks={"archive": archive.check})
    return Analytics(domain, ArchiveQueries(archive, platform.clock))
