"""The transcode domain, composed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from media_svc.context import MediaContext
from media_svc.jobs.runner import JobPolicy, JobRunner
from media_svc.jobs.store import TRANSCODE
from media_svc.jobs.stores.sql import SqlJobQueue
from media_svc.settings import MediaSettings
from media_svc.transcode.engine.probe import ProbeLimits
from media_svc.transcode.engine.runner import EncodeLimits
from media_svc.transcode.stores.sql import SqlSetStore
from media_svc.transcode.transcoder import Toolbox, TranscodeLimits, Transcoder
from media_svc.transcode.worker import TranscodeWorker
from svc_kit.faults import crash_points
from svc_kit.liveness import new_holder
from svc_kit.service import Job


@dataclass(frozen=True, slots=True)
class Transcode:
    """The wired domain."""

    workers: Sequence[Job]
    check: Callable[[], Awaitable[None]]


def build_transcode(context: MediaContext) -> Transcode:
    """The transcoding of media sets."""
    settings, clock = context.settings, context.platform.clock
    toolbox = Toolbox(settings.ffmpeg)
    folder = context.platform.settings.data_dir.resolve() / "tmp" / "transcode"
    transcoder = Transcoder(context.blobs, folder, toolbox, _limits(settings))
    sets = SqlSetStore(context.db)
    worker = TranscodeWorker(sets, context.intake, transcoder, clock, crash_points(), context.changed)
    policy = JobPolicy(
        settings.transcodes, settings.job_lease_s, settings.job_attempts, settings.job_backoff_s, settings.job_poll_s
    )
    queue = SqlJobQueue(context.uow)
    runner = JobRunner(TRANSCODE, queue, worker.work, worker.give_up, policy, clock, new_holder())
    context.doorbells.append(runner.nudge)

    transcodes = False

    async def run() -> None:
        nonlocal transcodes
        transcodes = True
        await runner.run()

    async def check() -> None:
        """Where nothing is transcoded, no ffmpeg is missed."""
        if transcodes:
            await toolbox.tools()

    return Transcode([Job("media.transcode", run)], check)


def _limits(settings: MediaSettings) -> TranscodeLimits:
    return TranscodeLimits(
        ProbeLimits(settings.max_duration_ms, settings.max_frame_pixels, settings.max_video_bytes),
        EncodeLimits(settings.max_duration_ms, settings.max_frame_pixels),
        settings.rungs,
        settings.transcode_threads,
    )
