"""This service from a platform."""

from __future__ import annotations

from contextlib import AsyncExitStack

from media_svc.blobs.open_context import BlobContext
from media_svc.blobs.store import BlobStore
from media_svc.blobs.stores import SCHEMES as BLOB_SCHEMES
from media_svc.context import MediaContext
from media_svc.delivery.routes import Delivery
from media_svc.delivery.stores.remembered import RememberedDirectory
from media_svc.delivery.stores.sql import SqlPlaybackDirectory
from media_svc.delivery.urls import UrlSigner
from media_svc.live.server import NoLiveServicer
from media_svc.play_names import PlayNames
from media_svc.schema import outbox, replies
from media_svc.settings import MediaSettings
from media_svc.transactions import MediaTransactions
from media_svc.transcode.wiring import build_transcode
from media_svc.uploads.wiring import build_uploads
from media_svc.videos.store import VideoRow
from media_svc.videos.wiring import build_videos
from reelgraph.media.v1 import live_pb2, live_pb2_grpc
from svc_kit.backends import resolve
from svc_kit.bus.relay import OutboxRelay
from svc_kit.db import connect
from svc_kit.last_known import LastKnown
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job, Platform, Service
from svc_kit.settings import PlatformSettings
from svc_kit.uow import UnitOfWork
from svc_kit.wakeups import Wakeups
from svc_kit.worker_ids import with_own_ids

BLOBS_SETTING = "REELGRAPH_BLOBS_URL"
LIVE = live_pb2.DESCRIPTOR.services_by_name["LiveService"]


async def build(platform: Platform, stack: AsyncExitStack, settings: MediaSettings | None = None) -> Service:
    """The service `media`. `stack` closes what it opens; its tables must exist before it is called."""
    context = await _context(platform, stack, settings or MediaSettings())
    uploads = build_uploads(context)
    videos = build_videos(context)
    transcode = build_transcode(context)
    relay = OutboxRelay(context.db, platform.bus, platform.clock, name="media.relay")
    redirects = context.settings.delivery == "redirect"
    directory = RememberedDirectory(SqlPlaybackDirectory(context.db), context.known_videos, context.play_names)
    delivery = Delivery(context.urls, directory, context.blobs, redirects=redirects)
    return Service(
        "media",
        servicers=[
            uploads.servicer,
            videos.servicer,
            Servicer(LIVE, NoLiveServicer(), live_pb2_grpc.add_LiveServiceServicer_to_server),
        ],
        workers=[*uploads.workers, *videos.workers, *transcode.workers, Job(relay.name, relay.run)],
        http_routes=[*uploads.routes, *delivery.routes(context.settings.cors_origins)],
        checks={
            "media database": context.db.check,
            "blobs": lambda: _check_blobs(context.blobs),
            "ffmpeg": transcode.check,
        },
    )


async def _context(platform: Platform, stack: AsyncExitStack, settings: MediaSettings) -> MediaContext:
    db = connect(platform.settings.service_db_url("media"))
    stack.push_async_callback(db.close)
    platform = await with_own_ids(platform, db, "media", stack)
    uow = UnitOfWork(db, outbox, replies, platform.ids, platform.clock)
    wakeups = Wakeups(platform.cache, platform.clock)
    stack.push_async_callback(wakeups.close)
    blobs = await _open_blobs(platform)
    stack.push_async_callback(blobs.close)
    if settings.part_bytes < blobs.least_part_bytes:
        raise ValueError(
            f"REELGRAPH_MEDIA_PART_BYTES={settings.part_bytes}: the blob store joins parts of at least "
            f"{blobs.least_part_bytes} bytes"
        )
    known = LastKnown(platform.cache, platform.clock, "video", VideoRow, lambda video: video.version)
    intake = MediaTransactions(uow, known.remember)
    names = PlayNames(platform.cache, platform.clock)
    return MediaContext(platform, settings, db, uow, intake, known, names, blobs, wakeups, _urls(platform, settings))


async def _open_blobs(platform: Platform) -> BlobStore:
    url = platform.settings.embedded_url("blobs", "file://{dir}/blobs")
    secret = platform.settings.secret.get_secret_value().encode()
    context = BlobContext(
        secret, lambda: _origin(platform.settings), platform.clock, platform.settings.data_dir / "scratch"
    )
    opened: BlobStore = await resolve(BLOBS_SETTING, url, BLOB_SCHEMES).open(url, context)
    return opened


def _urls(platform: Platform, settings: MediaSettings) -> UrlSigner:
    return UrlSigner(
        platform.settings.secret.get_secret_value().encode(),
        lambda: _origin(platform.settings),
        platform.clock,
        public_s=settings.playback_ttl_s,
        restricted_s=settings.restricted_playback_ttl_s,
    )


def _origin(settings: PlatformSettings) -> str:
    """Where clients reach this service's bytes."""
    return settings.media_public_url or settings.public_url


async def _check_blobs(blobs: BlobStore) -> None:
    await blobs.list("check/", limit=1)
