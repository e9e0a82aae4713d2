"""Experiments end to end within feed_svc: pages, exposures, reports, guardrails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from feed_svc.experiments.assignment import arm_of
from feed_svc.experiments.commands import ExperimentCommands
from feed_svc.experiments.queries import ExperimentReports, ExperimentTunings
from feed_svc.experiments.store import Arm, Experiment, Exposure, Guardrail
from feed_svc.experiments.stores.sql import SqlExperimentStore
from feed_svc.feeds.rules import is_exploration
from feed_svc.feeds.store import ClientHints
from feed_svc.feeds.viewers import Viewer
from feed_svc.feeds.wiring import FeedsDomain, build_feeds
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.feed_pb2 import FeedExposed, FeedNotInterested, FeedServed
from reelgraph.events.v1.watch_pb2 import WatchRecorded
from svc_kit.clock import from_ms, now_ms
from svc_kit.errors import AppError, Reason
from tests.support.feed_fakes import Bench, feed_bench, small_world
from tests.support.platform import emitted

EXPLORING = Experiment("exploring", (Arm("usual"), Arm("more", settings={"exploration_every": 3})))
SOURCES = Experiment("sources", (Arm("x", source_weights={"trending": 0.5}), Arm("y", value_weights={"like": 3.0})))
GUARDED = Experiment(
    "guarded", (Arm("usual"), Arm("bad")), window_hours=1, effect=0.5, guardrails=(Guardrail("skip_rate", 0.05),)
)
HOUR_MS = 3_600_000


@dataclass
class History:
    """`EventHistory` of a list."""

    events: list[Event] = field(default_factory=list)

    async def since(self, at_ms: int, topics: Sequence[str]) -> AsyncIterator[bytes]:
        for event in self.events:
            topic = (event.WhichOneof("body") or "").partition("_")[0]
            if topic in topics and event.occurred_at.ToMilliseconds() >= at_ms:
                yield event.SerializeToString()

    def add(self, at_ms: int, user: int, **body: Any) -> None:
        event = Event(id=len(self.events) + 1, actor_id=user, **body)
        event.occurred_at.FromDatetime(from_ms(at_ms))
        self.events.append(event)

    def viewer(self, user: int, arm: str, at_ms: int, watches: int, skipped: int, experiment: str = "guarded") -> None:
        """One viewer: exposed, then watching for a minute each."""
        exposed = FeedExposed(owner=f"u{user}", user_id=user, experiment=experiment, arm=arm, exposed_at_ms=at_ms)
        self.add(at_ms + 5, user, feed_exposed=exposed)
        for number in range(watches):
            watch = WatchRecorded(user_id=user, watched_ms=60_000, skipped=number < skipped)
            self.add(at_ms + 1000 * (number + 1), user, watch_recorded=watch)


@dataclass
class Lab:
    """Feeds with experiments."""

    bench: Bench
    feeds: FeedsDomain
    store: SqlExperimentStore
    commands: ExperimentCommands
    tunings: ExperimentTunings
    history: History
    exposed: list[Exposure]

    async def page(self, user: int = 0, client: str = "", cursor: str = "") -> Any:
        viewer = Viewer(user, ClientHints(client_id=client, language="en"))
        return await self.feeds.feeds.page("FOR_YOU", viewer, 10, cursor)

    async def served(self) -> list[FeedServed]:
        """Impressions that were published."""
        for flush in self.feeds.flushes:
            await flush()
        async with self.bench.platform.bus.consumer("test.served", ("feed",)) as consumer:
            found = [Event.FromString(d.record.payload) for d in await consumer.poll(100, 0)]
        return [event.feed_served for event in found if event.HasField("feed_served")]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    experiments = (EXPLORING, SOURCES, GUARDED)
    async with feed_bench(tmp_path) as bench:
        small_world(bench.world, count=60)
        await bench.publish()
        context, exposed, history = bench.context, list[Exposure](), History()
        store = SqlExperimentStore(context.uow)
        clock = context.platform.clock
        tunings = ExperimentTunings(experiments, store, context.settings, clock, expose=exposed.append)
        feeds = await build_feeds(context, bench.fanout, bench.world, bench.world.peers, tunings)
        commands = ExperimentCommands(store, ExperimentReports(experiments, store, history, clock), clock)
        yield Lab(bench, feeds, store, commands, tunings, history, exposed)


def user_in(experiment: Experiment, arm: str) -> int:
    """A viewer of an arm."""
    for user in range(5000, 6000):
        found = arm_of(experiment, f"u{user}")
        if found is not None and found.name == arm:
            return user
    raise AssertionError(arm)


async def test_a_viewer_is_served_with_the_settings_of_their_arm_and_each_impression_says_so(lab: Lab) -> None:
    for arm, every in (("usual", 10), ("more", 3)):
        user = user_in(EXPLORING, arm)
        assert lab.tunings.of(f"u{user}").settings.exploration_every == every
        await lab.page(user)
        # One exploration place in `every`: its propensity tells that it was drawn.
        (served,) = [s for s in await lab.served() if s.user_id == user]
        drawn = {i.position for i in served.impressions if i.propensity < 1}
        assert drawn == {p for p in range(10) if is_exploration(p, every)}
        assert f"exploring={arm}" in served.experiment.split(",")


async def test_arms_of_several_experiments_are_combined(lab: Lab) -> None:
    user = next(
        u for u in range(5000, 6000) if lab.tunings.of(f"u{u}").arms[:2] == (("exploring", "more"), ("sources", "x"))
    )
    tuning = lab.tunings.of(f"u{user}")
    assert (tuning.settings.exploration_every, tuning.source_weights["trending"]) == (3, 0.5)
    assert tuning.source_weights["inbox"] == 1.0
    assert lab.tunings.of(f"u{user_in(SOURCES, 'y')}").value_weights == {"like": 3.0}


async def test_an_exposure_is_told_once_whatever_is_served_and_whatever_a_process_forgets(lab: Lab) -> None:
    page = await lab.page(1)
    await lab.page(1, cursor=page.edges[-1].cursor)
    assert sorted(e.experiment for e in lab.exposed) == ["exploring", "guarded", "sources"]
    for _ in range(2):  # another process, or this one after a restart, hands them over again
        await lab.commands.expose(lab.exposed)
    events = [e for e in await emitted(lab.bench.platform, "feed") if e.HasField("feed_exposed")]
    assert sorted(e.entity for e in events) == ["exposure:exploring:u1", "exposure:guarded:u1", "exposure:sources:u1"]
    assert all(e.feed_exposed.exposed_at_ms == now_ms(lab.bench.world.clock) for e in events)


async def test_installations_are_exposed_and_the_nameless_are_not(lab: Lab) -> None:
    await lab.page(client="a-phone")
    assert {e.owner[0] for e in lab.exposed} == {"c"}
    lab.exposed.clear()
    await lab.page()
    assert lab.exposed == []
    assert lab.tunings.of(Viewer(0, ClientHints()).owner).arms == ()


async def test_the_followed_feed_exposes_nobody(lab: Lab) -> None:
    await lab.feeds.feeds.page("FOLLOWING", Viewer(1, ClientHints()), 10, "")
    assert lab.exposed == []


async def test_a_report_counts_each_viewer_once_by_what_followed_within_the_window(lab: Lab) -> None:
    start = now_ms(lab.bench.world.clock)
    for number in range(80):
        lab.history.viewer(number + 1, "usual" if number % 2 else "bad", start + number, 10 + number % 3, 0)
    lab.history.viewer(900, "bad", start + 50, 10, 0)
    lab.history.add(start + 2 * HOUR_MS, 900, watch_recorded=WatchRecorded(user_id=900, watched_ms=60_000_000))
    lab.history.add(start + 60, 900, feed_not_interested=FeedNotInterested(user_id=900))
    lab.history.viewer(901, "bad", start + 3 * HOUR_MS, 10, 0)  # too late to count
    lab.history.viewer(1, "bad", start + HOUR_MS, 1, 0)  # again, in another arm: the first exposure counts
    lab.bench.world.clock.advance(3 * 3600)
    report = await lab.commands._reports.report("guarded")
    usual, bad = report.arms
    assert (usual.counted, bad.counted, bad.exposures) == (40, 41, 42)
    assert bad.main is not None
    assert bad.main.mean < 13  # the watch after the window is not in it
    assert bad.main.verdict == "no difference found"


async def test_a_guardrail_stops_an_arm_and_its_viewers_get_the_settings_again(lab: Lab) -> None:
    start, user = now_ms(lab.bench.world.clock), user_in(GUARDED, "bad")
    for number in range(200):
        bad = number % 2 == 0
        lab.history.viewer(number + 1, "bad" if bad else "usual", start + number, 20, (8 if bad else 2) + number % 5)
    lab.bench.world.clock.advance(2 * 3600)
    assert ("guarded", "bad") in lab.tunings.of(f"u{user}").arms
    for _ in range(2):
        await lab.commands.guard()
    (stop,) = await lab.store.stops(["guarded"])
    assert (stop.arm, "skip_rate" in stop.reason) == ("bad", True)
    await lab.tunings.refresh()
    assert ("guarded", "bad") not in lab.tunings.of(f"u{user}").arms
    report = await lab.commands._reports.report("guarded")
    assert report.arms[1].stopped == stop.reason
    assert report.arms[1].guardrails[0].is_broken


async def test_a_guardrail_leaves_arms_alone_that_do_no_harm(lab: Lab) -> None:
    start = now_ms(lab.bench.world.clock)
    for number in range(200):
        lab.history.viewer(number + 1, "bad" if number % 2 else "usual", start + number, 20, number % 5)
    lab.bench.world.clock.advance(2 * 3600)
    await lab.commands.guard()
    assert await lab.store.stops(["guarded"]) == []


async def test_an_undeclared_experiment_has_no_report(lab: Lab) -> None:
    with pytest.raises(AppError) as caught:
        await lab.commands._reports.report("nothing")
    assert caught.value.reason is Reason.NOT_FOUND
