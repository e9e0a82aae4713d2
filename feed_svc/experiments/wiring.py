"""The experiments, composed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from feed_svc.analytics.queries import ArchiveQueries
from feed_svc.analytics.store import Archive
from feed_svc.analytics.stores import ARCHIVE_SCHEMES, ARCHIVE_SETTING, archive_url
from feed_svc.context import Domain, FeedContext
from feed_svc.experiments.commands import ExperimentCommands
from feed_svc.experiments.declared import read_experiments
from feed_svc.experiments.queries import ExperimentReports, ExperimentTunings
from feed_svc.experiments.store import EventHistory, Exposure
from feed_svc.experiments.stores.sql import SqlExperimentStore
from feed_svc.feeds.spool import Spool
from feed_svc.schema import outbox, replies
from feed_svc.settings import FeedSettings
from svc_kit.backends import resolve
from svc_kit.clock import Clock
from svc_kit.db import connect
from svc_kit.ids import IdGenerator
from svc_kit.periodic import every
from svc_kit.service import Job
from svc_kit.settings import PlatformSettings
from svc_kit.uow import UnitOfWork

STOPS_S = 10.0
"""How long other processes may go on with an arm that was stopped."""


@dataclass(frozen=True, slots=True)
class Experiments:
    """The wired domain, and what it offers to others."""

    domain: Domain
    tunings: ExperimentTunings
    """`Tunings` of the feeds."""
    reports: ExperimentReports
    commands: ExperimentCommands


def build_experiments(context: FeedContext, history: EventHistory) -> Experiments:
    """Assignment, exposures and guardrails of what the settings' file declares. `history`: events of the past."""
    settings, clock = context.settings, context.platform.clock
    path = settings.experiments_file
    declared = read_experiments(path, settings) if path else ()
    store = SqlExperimentStore(context.uow)
    reports = ExperimentReports(declared, store, history, clock)
    commands = ExperimentCommands(store, reports, clock)
    spool: Spool[Exposure] = Spool("feed.exposures", commands.expose, clock, settings.spool_entries)
    context.stack.push_async_callback(spool.flush)
    tunings = ExperimentTunings(declared, store, settings, clock, expose=spool.put)
    jobs: list[Job] = []
    if declared:
        guard = every(clock, settings.experiments_check_s, commands.guard, "feed.experiments")
        stops = every(clock, STOPS_S, tunings.refresh, "feed.experiment_stops")
        jobs = [
            Job(spool.name, spool.run, local=True),
            Job("feed.experiment_stops", stops, local=True),
            Job("feed.experiments", guard),
        ]
    return Experiments(Domain(workers=jobs), tunings, reports, commands)


@asynccontextmanager
async def open_reports(
    platform: PlatformSettings, settings: FeedSettings, clock: Clock
) -> AsyncIterator[ExperimentReports]:
    """Reports beside a running service, or without one: from its database and its archive. Raises `BadExperiments`,
    UNAVAILABLE."""
    if settings.experiments_file is None:
        raise ValueError("REELGRAPH_FEED_EXPERIMENTS_FILE is not set: no experiment is declared")
    declared = read_experiments(settings.experiments_file, settings)
    async with AsyncExitStack() as stack:
        db = connect(platform.service_db_url("feed"))
        stack.push_async_callback(db.close)
        url = archive_url(settings.archive_url, platform)
        archive: Archive = await resolve(ARCHIVE_SETTING, url, ARCHIVE_SCHEMES).open(url)
        stack.push_async_callback(archive.close)
        uow = UnitOfWork(db, outbox, replies, IdGenerator(clock), clock)
        yield ExperimentReports(declared, SqlExperimentStore(uow), ArchiveQueries(archive, clock), clock)
