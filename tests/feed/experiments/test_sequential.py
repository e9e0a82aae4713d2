"""The sequential test holds what it promises, over many simulated experiments that are looked at after every viewer."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from feed_svc.experiments.sequential import LEAST, Moments, SequentialTest

RUNS, VIEWERS, ALPHA = 400, 600, 0.05
Draw = Callable[[random.Random], float]


def run(seed: int, control: Draw, other: Draw, viewers: int = VIEWERS) -> SequentialTest:
    """One experiment to its end."""
    dice, test = random.Random(seed), SequentialTest(ALPHA, effect=0.2)
    for _ in range(viewers):
        is_control = dice.random() < 0.5
        test.add((control if is_control else other)(dice), is_control=is_control)
    return test


def minutes(dice: random.Random) -> float:
    """Watch time of a person: skewed, as it is."""
    return dice.expovariate(1 / 12)


def better(dice: random.Random) -> float:
    """A third of a standard deviation more."""
    return minutes(dice) * 4 / 3


def liked(dice: random.Random) -> float:
    """Yes or no."""
    return float(dice.random() < 0.1)


def test_an_a_a_is_called_different_at_most_as_often_as_alpha_says_although_it_is_looked_at_all_the_time() -> None:
    for draw in (minutes, liked):
        wrong = sum(run(seed, draw, draw).is_decided for seed in range(RUNS))
        # Three standard errors above alpha would be 33; the mixture is conservative within a finite run.
        assert wrong <= ALPHA * RUNS


def test_looking_all_the_time_with_a_fixed_test_would_err_far_more_often() -> None:
    wrong = 0
    for seed in range(RUNS):
        dice, a, b = random.Random(seed), Moments(), Moments()
        ever = False
        for _ in range(VIEWERS):
            (a if dice.random() < 0.5 else b).add(minutes(dice))
            if min(a.count, b.count) >= LEAST:
                z = (b.mean - a.mean) / math.sqrt(a.variance / a.count + b.variance / b.count)
                ever |= abs(z) > 1.96
        wrong += ever
    assert wrong > 3 * ALPHA * RUNS


def test_a_planted_difference_is_found_and_its_sign_is_right() -> None:
    tests = [run(seed, minutes, better, 1500) for seed in range(100)]
    found = [test for test in tests if test.is_decided]
    assert len(found) >= 90
    assert all(test.low > 0 for test in found)


def test_the_confidence_sequence_holds_the_truth_all_the_time() -> None:
    missed = 0
    for seed in range(RUNS):
        test = run(seed, minutes, better)
        missed += not test.low <= 4 <= test.high  # bounds never widen: outside now is outside ever
    assert missed <= ALPHA * RUNS


def test_p_never_grows_and_agrees_with_the_bounds() -> None:
    dice, test, last = random.Random(7), SequentialTest(ALPHA, effect=0.2), 1.0
    for _ in range(800):
        is_control = dice.random() < 0.5
        test.add((minutes if is_control else better)(dice), is_control=is_control)
        assert test.p_value <= last
        last = test.p_value
        assert test.is_decided == (test.low > 0 or test.high < 0)


def test_nothing_is_claimed_of_few_viewers_or_of_people_who_all_did_the_same() -> None:
    few, same = SequentialTest(ALPHA, 0.2), SequentialTest(ALPHA, 0.2)
    for number in range(2 * LEAST - 2):
        few.add(100.0 * (number % 2), is_control=number % 2 == 0)
    for number in range(500):
        same.add(3.0, is_control=number % 2 == 0)
    for test in (few, same):
        assert (test.p_value, test.low, test.high) == (1.0, -math.inf, math.inf)


def test_moments_are_mean_and_variance() -> None:
    found = Moments()
    for value in (2.0, 4.0, 9.0):
        found.add(value)
    assert (found.count, found.mean, found.variance) == (3, 5.0, 13.0)
