"""The A/B switch on simulated viewers: one arm planted to be worse must be found, and A/A must not be.

Both experiments run at once over the same people; their assignments are independent, so the planted one adds noise to
A/A and nothing else.
"""

from __future__ import annotations

import json
import random
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.simulate.audience import Progress
from bench.simulate.behaviour import Session
from bench.simulate.host import feed_settings
from bench.simulate.live_feed import LiveFeed
from bench.simulate.plan import Person, Plan, Sizes, match, plan
from bench.simulate.run import Options, all_old, live_world
from bench.simulate.tastes import population
from feed_svc.experiments.wiring import open_reports

WINDOW_HOURS = 2.0
PLANTED, SAME = "planted", "a-a"
REVERSED = {"like": -1.0, "completion": -1.0, "watch": -1.0, "negative": 3.0, "affinity": -1.0}
"""The value formula turned round: what the ranker expects to be disliked comes first."""
BLIND = {"taste": 0.0, "similar_viewers": 0.0, "similar_video": 0.0}
Json = dict[str, Any]


def declared() -> list[Json]:
    """The experiments' file."""
    common = {"window_hours": WINDOW_HOURS, "effect": 0.5, "metric": "watch_minutes"}
    worse = {"name": "reversed", "value_weights": REVERSED, "source_weights": BLIND}
    return [
        {"name": PLANTED, "arms": [{"name": "control"}, worse], "guardrails": {"skip_rate": 0.05}, **common},
        {"name": SAME, "arms": [{"name": "a"}, {"name": "b"}], "guardrails": {"skip_rate": 0.05}, **common},
    ]


async def compare(options: Options, progress: Progress) -> Json:
    """Reports of both experiments: a session each of all people, at most `watches` long."""
    sizes = all_old(options.sizes)
    made = plan(sizes, population(options.kuairand, options.seed), options.seed)
    with tempfile.TemporaryDirectory(prefix="reelgraph-experiments-") as folder:
        path = Path(folder) / "experiments.json"
        path.write_text(json.dumps(declared()), encoding="utf-8")
        changes = {"experiments_file": path, "experiments_check_s": 365 * 24 * 3600}
        async with live_world(replace(options, sizes=sizes), made, feed=changes) as feed:
            for person in made.people:
                await _session(feed, person, sizes, made, options.seed)
                progress("a/b", person.number + 1, len(made.people))
            await feed.pause(WINDOW_HOURS * 3600)
            await feed.host.archive()
            settings = feed.host.platform.settings
            async with open_reports(settings, feed_settings(**changes), feed.host.clock) as reports:
                found = {name: asdict(await reports.report(name)) for name in (PLANTED, SAME)}
            for report in found.values():
                for arm in report["arms"][1:]:
                    arm["verdict"] = _verdict(arm["main"])
    return {"seed": options.seed, "sizes": asdict(sizes), "experiments": found}


def _verdict(main: Json) -> str:
    from feed_svc.experiments.report import Comparison

    return Comparison(**main).verdict


async def _session(feed: LiveFeed, person: Person, sizes: Sizes, made: Plan, seed: int) -> None:
    session, watched = Session(random.Random(f"{seed}/{person.number}/ab")), 0
    await feed.begin(person)
    while watched < sizes.watches:
        page = await feed.page(person, sizes.page)
        seen = []
        for clip in page:
            seen.append((clip, session.react(match(clip, person.taste), clip.quality, clip.kind.duration_ms)))
            if session.leaves():
                break
        await feed.told(person, seen)
        watched += len(seen)
        if len(seen) < len(page) or not page:
            return
