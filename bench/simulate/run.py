"""A simulation: one plan, and a world for each policy."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.simulate.audience import Progress, View, watch
from bench.simulate.door import Door
from bench.simulate.host import feed_settings, hosted, rank_settings
from bench.simulate.live_feed import LiveFeed
from bench.simulate.measures import measured
from bench.simulate.plan import Plan, Sizes, plan
from bench.simulate.policies import rivals
from bench.simulate.tastes import population

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is made of."""

    sizes: Sizes
    seed: int = 0
    kuairand: Path | None = None
    data_dir: Path | None = None
    """Keep the platform's data, its archive above all; None: forget it. A version promoted in it before serves."""


async def simulate(options: Options, progress: Progress) -> Json:
    """The report: figures of the platform's feed and of each rival, over the same people and videos."""
    people = population(options.kuairand, options.seed)
    made = plan(options.sizes, people, options.seed)
    guarantee = guarantee_of(made, options.sizes)
    began = time.process_time()
    worlds = {"platform": measured(made, options.sizes, await _live(options, made, guarantee, progress), guarantee)}
    cpu_s = time.process_time() - began
    for name, policy in rivals(made, options.seed, options.sizes.watches).items():
        for clip in made.clips:
            if not clip.is_new:
                await policy.publish(clip)
        views = await watch(policy, made, options.sizes, options.seed, name, progress)
        worlds[name] = measured(made, options.sizes, views, guarantee)
    return {
        "population": people.source,
        "seed": options.seed,
        "sizes": asdict(options.sizes),
        "creators": made.creators,
        "policies": worlds,
        "platform_cpu_s": round(cpu_s, 1),
    }


def guarantee_of(made: Plan, sizes: Sizes) -> int:
    """Impressions to guarantee a new video: half of what one place in ten can carry, at least three, so that the slots
    can keep the promise while the videos arrive."""
    new = sum(clip.is_new for clip in made.clips)
    return max(3, len(made.people) * (sizes.watches + sizes.after) // 10 // max(1, new) // 2)


async def _live(options: Options, made: Plan, guarantee: int, progress: Progress) -> list[View]:
    async with live_world(options, made, rank={"guaranteed_impressions": guarantee}) as feed:
        views = await watch(feed, made, options.sizes, options.seed, "platform", progress)
        await feed.host.archive()
    return views


@contextlib.asynccontextmanager
async def live_world(
    options: Options, made: Plan, *, rank: Json | None = None, feed: Json | None = None
) -> AsyncIterator[LiveFeed]:
    """A platform with the old videos published and everybody signed up."""
    with _folder(options.data_dir) as folder:
        async with (
            hosted(folder, feed_settings(**(feed or {})), rank_settings(**(rank or {}))) as host,
            Door(host.app) as door,
        ):
            world = LiveFeed(host, door, made, options.seed)
            for clip in made.clips:
                if not clip.is_new:
                    await world.publish(clip)
            await world.open_doors()
            yield world


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        if (kept / "graph.db").exists():
            raise ValueError(f"{kept}: people live here already; a simulation begins with nobody")
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="reelgraph-simulation-") as folder:
        yield Path(folder)


def all_old(sizes: Sizes) -> Sizes:
    """The sizes with a catalogue that does not grow."""
    return replace(sizes, new_share=0.0)
