"""The uploads domain, composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from starlette.routing import BaseRoute

from media_svc.blobs.part_tokens import PartTokens
from media_svc.context import MediaContext
from media_svc.jobs.runner import JobPolicy, JobRunner
from media_svc.jobs.store import VERIFY
from media_svc.jobs.stores.sql import SqlJobQueue
from media_svc.settings import MediaSettings
from media_svc.transcode.stores.sql import SqlSetStore
from media_svc.uploads.commands import UploadCommands
from media_svc.uploads.intents import UploadLimits
from media_svc.uploads.janitor import Janitor, JanitorTimes
from media_svc.uploads.part_routes import PartReceiver
from media_svc.uploads.queries import UploadQueries
from media_svc.uploads.server import UploadServicer
from media_svc.uploads.store import UploadStore
from media_svc.uploads.stores.sql import SqlUploadStore
from media_svc.uploads.worker import UploadVerifier
from reelgraph.media.v1 import uploads_pb2, uploads_pb2_grpc
from svc_kit.limits import Limit, RateLimiter
from svc_kit.liveness import new_holder
from svc_kit.rpc.server import Servicer
from svc_kit.service import Job


@dataclass(frozen=True, slots=True)
class Uploads:
    """The wired domain."""

    servicer: Servicer
    workers: Sequence[Job]
    routes: Sequence[BaseRoute]


def build_uploads(context: MediaContext) -> Uploads:
    """`UploadService`, its part URLs, verification and the janitor."""
    store, clock = SqlUploadStore(context.db), context.platform.clock
    servicer = Servicer(
        uploads_pb2.DESCRIPTOR.services_by_name["UploadService"],
        UploadServicer(_commands(context, store), UploadQueries(store, context.blobs, context.wakeups, clock)),
        uploads_pb2_grpc.add_UploadServiceServicer_to_server,
    )
    receiver = PartReceiver(PartTokens(context.secret), store, context.blobs, clock, context.changed)
    runner = _verification(context, store)
    context.doorbells.append(runner.nudge)
    janitor = _janitor(context, store)
    return Uploads(
        servicer,
        workers=[Job("media.verify", runner.run), Job("media.janitor", janitor.run)],
        routes=receiver.routes(context.settings.cors_origins),
    )


def _commands(context: MediaContext, store: UploadStore) -> UploadCommands:
    platform, settings = context.platform, context.settings
    count, window_s = settings.begin_uploads_per_viewer, settings.begin_uploads_window_s
    message = f"At most {count} uploads may be begun in {window_s} seconds."
    return UploadCommands(
        store,
        context.intake,
        context.blobs,
        replies=context.uow,
        ids=platform.ids,
        clock=platform.clock,
        limits=_limits(settings),
        limiter=RateLimiter(platform.cache, platform.clock),
        rate=Limit("begin_upload", count, window_s, message),
        avatar_url=context.urls.avatar,
        changed=context.changed,
    )


def _limits(settings: MediaSettings) -> UploadLimits:
    return UploadLimits(
        video_bytes=settings.max_video_bytes,
        image_bytes=settings.max_image_bytes,
        part_bytes=settings.part_bytes,
        parts=settings.max_parts,
        open_uploads=settings.max_open_uploads,
        quota_bytes=settings.quota_bytes,
        ttl_s=settings.upload_ttl_s,
    )


def _verification(context: MediaContext, store: UploadStore) -> JobRunner:
    settings, clock = context.settings, context.platform.clock
    verifier = UploadVerifier(
        store,
        context.intake,
        context.blobs,
        clock=clock,
        threads=anyio.CapacityLimiter(settings.verifications),
        max_image_pixels=settings.max_image_pixels,
        avatar_side_px=settings.avatar_side_px,
        changed=context.changed,
        queued=context.ring,
    )
    policy = job_policy(settings, settings.verifications)
    return JobRunner(VERIFY, SqlJobQueue(context.uow), verifier.work, verifier.give_up, policy, clock, new_holder())


def job_policy(settings: MediaSettings, concurrency: int) -> JobPolicy:
    """How jobs are run, by the settings."""
    return JobPolicy(
        concurrency, settings.job_lease_s, settings.job_attempts, settings.job_backoff_s, settings.job_poll_s
    )


def _janitor(context: MediaContext, store: UploadStore) -> Janitor:
    settings = context.settings
    times = JanitorTimes(settings.janitor_s, settings.kept_unreferenced_s)
    sets, clock = SqlSetStore(context.db), context.platform.clock
    return Janitor(store, sets, context.intake, context.blobs, context.uow, clock, times, context.changed)
