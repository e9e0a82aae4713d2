"""Who is in which arm."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from feed_svc.experiments.assignment import arm_of
from feed_svc.experiments.store import Arm, Experiment

HALVES = Experiment("halves", (Arm("a"), Arm("b")))
THIRDS = Experiment("thirds", (Arm("small", 1), Arm("large", 2)))
OWNERS = [f"u{300_000_000_000 + 4096 * number}" for number in range(20_000)]
CHI2_999 = {1: 10.83, 3: 16.27}
"""Exceeded once in a thousand draws, by degrees of freedom."""


def counts(experiment: Experiment) -> Counter[str]:
    """Owners by arm."""
    return Counter(arm.name for owner in OWNERS if (arm := arm_of(experiment, owner)) is not None)


def chi2(observed: list[int], expected: list[float]) -> float:
    """Pearson's statistic."""
    return sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))


@pytest.mark.parametrize("salt", ["", "x", "2026", "again"])
def test_viewers_are_spread_over_arms_by_their_weights(salt: str) -> None:
    found = counts(replace(THIRDS, salt=salt))
    n = len(OWNERS)
    assert chi2([found["small"], found["large"]], [n / 3, 2 * n / 3]) < CHI2_999[1]


def test_a_viewer_stays_in_their_arm() -> None:
    first = [arm_of(HALVES, owner) for owner in OWNERS[:500]]
    assert [arm_of(HALVES, owner) for owner in OWNERS[:500]] == first


def test_two_experiments_and_two_salts_of_one_assign_independently() -> None:
    for other in (replace(HALVES, name="another"), replace(HALVES, salt="x")):
        pairs = Counter((_name(HALVES, owner), _name(other, owner)) for owner in OWNERS)
        assert chi2([pairs[x, y] for x in "ab" for y in "ab"], [len(OWNERS) / 4] * 4) < CHI2_999[3]


def test_only_the_share_takes_part_and_a_greater_share_moves_nobody() -> None:
    tenth, half = replace(HALVES, share=0.1), replace(HALVES, share=0.5)
    taking_part = sum(counts(tenth).values())
    assert chi2([taking_part, len(OWNERS) - taking_part], [2000, 18_000]) < CHI2_999[1]
    for owner in OWNERS[:3000]:
        if arm_of(tenth, owner) is not None:
            assert arm_of(half, owner) == arm_of(tenth, owner)


def test_installations_take_part_and_clients_without_a_name_do_not() -> None:
    found = Counter(_name(HALVES, f"c{number:016x}") for number in range(4000))
    assert chi2([found["a"], found["b"]], [2000, 2000]) < CHI2_999[1]
    assert arm_of(HALVES, "a0123456789abcdef") is None


def _name(experiment: Experiment, owner: str) -> str:
    arm = arm_of(experiment, owner)
    assert arm is not None
    return arm.name
