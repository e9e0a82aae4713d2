"""The simulation: its model and figures, and a tiny world on the real platform."""

from __future__ import annotations

import random
from pathlib import Path
from statistics import mean

import pyarrow.parquet as pq
import pytest

from bench.simulate.audience import View, watch
from bench.simulate.behaviour import Session
from bench.simulate.clock import SteppedClock
from bench.simulate.measures import gini, measured
from bench.simulate.plan import Clip, Person, Plan, Sizes, plan
from bench.simulate.policies import rivals
from bench.simulate.run import Options, live_world
from bench.simulate.tastes import Kind, population
from rank_svc.train.archive import convert

TINY = Sizes(viewers=3, videos=40, watches=12, after=3)


def silent(_name: str, _done: int, _total: int) -> None:
    """No progress."""


def clip(number: int, tag: str, *, creator: int = 0, is_new: bool = False) -> Clip:
    """A clip of 10 s."""
    return Clip(number, creator, Kind((tag,), 10_000), 0.0, is_new, is_unknown=is_new)


def test_a_plan_follows_from_its_seed_alone() -> None:
    people = population(None, 3)
    assert plan(TINY, people, 3) == plan(TINY, population(None, 3), 3)
    assert plan(TINY, people, 3) != plan(TINY, people, 4)


def test_tastes_change_to_something_else_and_a_fifth_of_the_videos_is_new() -> None:
    made = plan(Sizes(30, 200, 10, 0), population(None, 1), 1)
    assert all(not set(person.taste) & set(person.later) for person in made.people)
    assert sum(one.is_new for one in made.clips) == 40
    known = {one.creator for one in made.clips if not one.is_unknown}
    assert not known & {one.creator for one in made.clips if one.is_unknown}


def test_people_finish_what_suits_them_and_swipe_away_what_does_not() -> None:
    def finished(match: float, quality: float) -> float:
        dice = random.Random(5)
        return mean(Session(dice).react(match, quality, 25_000).completed for _ in range(3000))

    rates = [finished(0.0, 0.0), finished(0.0, 1.5), finished(1.0, 0.0), finished(1.0, 1.5)]
    assert rates == sorted(rates)
    assert 0.1 < rates[0] < 0.2 < 0.6 < rates[2] < 0.9


def test_who_is_bored_leaves_sooner() -> None:
    def stays(boredom: int) -> float:
        dice = random.Random(5)
        return mean(not Session(dice, boredom=boredom).leaves() for _ in range(2000))

    assert stays(0) > stays(3) > stays(8)


def test_the_figures_of_a_known_world() -> None:
    made = Plan([clip(0, "a"), clip(1, "b"), clip(2, "b", creator=1), clip(3, "c", creator=2, is_new=True)], [], 3)
    made = Plan(made.clips, [Person(0, {"a": 1.0}, {"b": 1.0}, ())], 3)
    views = [
        View(0, made.clips[0], 0, 0, False, 1, 10_000, completed=True),
        View(0, made.clips[1], 1, 0, False, 1, 500, skipped=True),
        View(0, made.clips[0], -1, 0, False, 1),  # served again, not looked at
        View(0, made.clips[2], 2, 1, True, 2, 10_000, completed=True),
    ]
    found = measured(made, Sizes(1, 4, 2, 1), views, 3)
    assert found["taste"]["chance"] == 0.25
    assert found["taste"]["after_0"] == {"share": 0.5, "times_chance": 2.0, "standard_error": 0.0}
    assert found["recovery"]["after_0"] == {"share": 1.0, "times_chance": 2.0, "standard_error": 0.0}
    assert (found["repeats"], found["coverage"], found["new_videos"]["got_any"]) == (1, 0.75, 0.0)
    assert found["sessions"]["skip_rate"] == 0.5
    assert found["topics"]["pages_above_half"] == 1.0  # two of three on the one whole page
    assert found["creators_gini"] == round(gini([3, 1, 0]), 4)


@pytest.mark.parametrize(("counts", "expected"), [([1, 1, 1], 0.0), ([0, 0, 9], 2 / 3), ([], 0.0), ([0, 0], 0.0)])
def test_gini(counts: list[int], expected: float) -> None:
    assert gini(counts) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["random", "popularity", "following", "oracle"])
async def test_a_rival_shows_nothing_twice_and_chance_shows_what_chance_shows(name: str) -> None:
    sizes = Sizes(viewers=20, videos=600, watches=30, after=5)
    made = plan(sizes, population(None, 2), 2)
    rival = rivals(made, 2, sizes.watches)[name]
    for one in made.clips:
        if not one.is_new:
            await rival.publish(one)
    found = measured(made, sizes, await watch(rival, made, sizes, 2, name, silent), 3)
    assert found["repeats"] == 0
    if name == "random":
        assert 0.5 < found["taste"]["after_10"]["times_chance"] < 1.7
    if name == "oracle":
        assert found["taste"]["after_0"]["share"] > 0.95
        assert found["recovery"]["after_0"]["share"] > 0.95
    if name == "following":
        assert found["taste"]["after_0"]["times_chance"] > 2


async def test_the_clock_wakes_a_sleeper_once_however_far_it_jumps() -> None:
    import asyncio

    clock, woken = SteppedClock(), list[float]()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleep(seconds)) for seconds in (5, 1, 100)]
    await asyncio.sleep(0)
    clock.advance(50)
    await asyncio.gather(*tasks[:2])
    assert (woken, clock.sleepers) == ([1, 5], 1)
    tasks[2].cancel()


async def test_a_folder_where_people_live_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "graph.db").touch()
    with pytest.raises(ValueError, match="people live here"):
        async with live_world(Options(TINY, data_dir=tmp_path), Plan([], [], 0)):
            pass


async def _shown(folder: Path) -> list[tuple[int, int, int]]:
    """What a tiny world on the real platform showed: person, clip, which watch."""
    options = Options(TINY, 7, data_dir=folder)
    made = plan(TINY, population(None, 7), 7)
    async with live_world(options, made, rank={"guaranteed_impressions": 3}) as feed:
        views = await watch(feed, made, TINY, 7, "platform", silent)
        await feed.host.archive()
    assert measured(made, TINY, views, 3)["repeats"] == 0
    return [(view.person, view.clip.number, view.nth) for view in views]


async def test_people_use_the_real_platform_the_same_way_each_time_and_its_archive_can_be_learned_from(
    tmp_path: Path,
) -> None:
    first = await _shown(tmp_path / "one")
    assert await _shown(tmp_path / "two") == first
    watched = [row for row in first if row[2] >= 0]
    assert len(watched) == TINY.viewers * (TINY.watches + TINY.after)
    convert(tmp_path / "one" / "archive", tmp_path / "dataset")
    impressions = pq.read_table(tmp_path / "dataset" / "impressions.parquet")
    assert impressions.num_rows == len(first)
    # Who leaves a page may be served the rest of it again later: one watch may follow two impressions.
    rows = zip(*(impressions[name].to_pylist() for name in ("user_id", "item_id", "watched_ms")), strict=True)
    assert len({(user, video) for user, video, ms in rows if ms > 0}) == len(watched)
