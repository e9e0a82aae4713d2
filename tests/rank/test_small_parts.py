"""Sums that fade, histories that merge, jobs that go on, layers of models."""

from __future__ import annotations

import asyncio
import random

import pytest

from rank_svc.features.decay import DAY_MS, HOUR_MS, LANDMARK_MS, heat_of, join, sum_at
from rank_svc.features.history import appeal, loved, merge
from rank_svc.features.lengths import EDGES_MS, bucket_of, typical
from rank_svc.features.store import BucketStats, Interaction
from rank_svc.retrieval.queries import share
from rank_svc.retrieval.sources import Candidate, Source
from rank_svc.scorers.layers import LayeredModels
from rank_svc.scorers.store import ModelRefused, Scorer
from svc_kit.errors import unavailable
from svc_kit.periodic import every
from tests.support.clock import FakeClock

NOW = LANDMARK_MS + 700 * DAY_MS


def test_a_heat_is_the_sum_of_weights_halved_by_age_in_whatever_order_they_come() -> None:
    ages = [0, 1, 5, 30, 24 * 365]
    random.Random(3).shuffle(ages)
    heat = None
    for age in ages:
        heat = join(heat, heat_of(2.0, NOW - age * HOUR_MS, HOUR_MS))

    assert sum_at(heat, NOW, HOUR_MS) == pytest.approx(sum(2.0 * 2.0**-age for age in ages))
    assert sum_at(None, NOW, HOUR_MS) == 0
    assert heat_of(0, NOW, HOUR_MS) is None


def test_a_heat_does_not_overflow_far_from_its_landmark() -> None:
    late = LANDMARK_MS + 100 * 365 * DAY_MS
    heat = join(heat_of(1, LANDMARK_MS, HOUR_MS), heat_of(1, late, HOUR_MS))

    assert sum_at(heat, late, HOUR_MS) == pytest.approx(1)
    assert sum_at(heat, LANDMARK_MS, HOUR_MS) <= 2.0**60


def test_what_was_done_stays_done_and_the_latest_watch_counts() -> None:
    stored = Interaction(1, 9, 9_000, 10_000, at_ms=10, liked=True, completed=True)
    reported = Interaction(1, 0, 500, 0, at_ms=20, skipped=True)

    (merged,) = merge([reported], [stored], limit=10)

    assert (merged.author_id, merged.watched_ms, merged.duration_ms, merged.at_ms) == (9, 500, 10_000, 20)
    assert merged.liked and merged.completed and merged.skipped


def test_a_like_that_comes_after_a_watch_keeps_the_watch() -> None:
    watch, like = Interaction(1, 9, 9_000, 10_000, at_ms=10), Interaction(1, at_ms=20, liked=True)

    (merged,) = merge([like], [watch], limit=10)

    assert (merged.watched_ms, merged.liked, merged.at_ms) == (9_000, True, 20)


def test_a_merged_history_is_newest_first_each_video_once_and_bounded() -> None:
    history = merge([Interaction(i, at_ms=-i) for i in (3, 1, 2, 3)], [Interaction(4, at_ms=5)], limit=3)

    assert [made.video_id for made in history] == [4, 1, 2]


def test_appeal_grows_with_what_was_watched_and_liked_and_falls_with_refusal() -> None:
    def watch(milliseconds: int, **more: bool) -> float:
        return appeal(Interaction(1, 9, milliseconds, 10_000, **more))

    assert watch(10_000, completed=True, liked=True) > watch(10_000, completed=True) > watch(5_000) > 0
    assert 0 > watch(500, skipped=True) > watch(500, not_interested=True)
    assert loved(Interaction(1, liked=True)) and not loved(Interaction(1, liked=True, not_interested=True))


def test_what_is_typical_follows_the_measured_rates_of_a_length() -> None:
    measured = typical({0: BucketStats(views=2000, completions=200, ratio_sum=400)})

    assert measured[0].completion == pytest.approx(0.1, abs=0.01) and measured[0].ratio == pytest.approx(0.2, abs=0.01)
    assert measured[5] == typical({})[5]
    assert [bucket_of(edge) for edge in (-5, 0, *EDGES_MS, 2**62)] == [0, 0, 1, 2, 3, 4, 5, 5]


def test_sources_take_turns_and_no_video_is_given_twice() -> None:
    pool = [1, 2, 3, 4, 5, 6]
    offered = {source: [Candidate(i, source, 1.0 / i) for i in pool] for source in (Source.TASTE, Source.NEW)}

    given = share(offered, {Source.TASTE: 500, Source.NEW: 2, Source.COLD_START: 5})

    assert [(c.video_id, c.source) for c in given] == [
        *((i, Source.TASTE) for i in (1, 3, 5, 6)),
        *((i, Source.NEW) for i in (2, 4)),
    ]


async def test_a_periodic_job_goes_on_while_a_dependency_is_down_and_not_past_a_defect() -> None:
    clock, outcomes = FakeClock(), [unavailable("down"), None, ValueError("defect")]
    done = 0

    async def step() -> None:
        nonlocal done
        outcome = outcomes[done]
        done += 1
        if outcome is not None:
            raise outcome

    task = asyncio.ensure_future(every(clock, 5, step, "job")())
    for expected in (1, 2):
        for _ in range(10):
            await asyncio.sleep(0)
        assert done == expected
        clock.advance(5)

    with pytest.raises(ValueError, match="defect"):
        await task


class Place:
    """A repository with one version, or none."""

    def __init__(self, version: str, *, broken: bool = False) -> None:
        self._version = version
        self._broken = broken

    async def wanted(self) -> str:
        if not self._version:
            raise ModelRefused("empty place")
        return self._version

    async def load(self, version: str) -> Scorer:
        raise ModelRefused(f"{self._version} is {'broken' if self._broken else 'asked for'}")

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


async def test_the_first_place_with_a_version_decides_and_a_broken_one_is_not_hidden() -> None:
    assert await LayeredModels([Place(""), Place("b")]).wanted() == "b"
    with pytest.raises(ModelRefused, match="a is broken"):
        await LayeredModels([Place("a", broken=True), Place("b")]).load("a")
    with pytest.raises(ModelRefused, match="by now a should serve"):
        await LayeredModels([Place("a"), Place("b")]).load("b")
    with pytest.raises(ModelRefused, match="empty place; empty place"):
        await LayeredModels([Place(""), Place("")]).wanted()
