"""The experiments, composed."""

from __future__ import annotations

from dataclasses import dataclass

from feed_svc.context import Domain, FeedContext
from feed_svc.experiments.commands import ExperimentCommands
from feed_svc.experiments.declared import read_experiments
from feed_svc.experiments.queries import ExperimentReports, ExperimentTunings
from feed_svc.experiments.store import EventHistory, Exposure
from feed_svc.experiments.stores.sql import SqlExperimentStore
from feed_svc.feeds.spool import Spool
from svc_kit.periodic import every
from svc_kit.service import Job

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
