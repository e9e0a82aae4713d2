"""Exploration places: everyone gets their impressions, then the first viewers decide."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed_svc.feeds.store import Trial
from feed_svc.feeds.trials import choose

SHARE = 0.25
SHORT, LONG = 0.7, 0.2
"""Completion rates typical for a 3 s clip and for one of a minute."""


def new(typical: float = 0.3, guaranteed: int = 100) -> Trial:
    return Trial(0, guaranteed, 0.0, 0.0, typical)


def seen(watches: float, completions: float, typical: float = 0.3, impressions: int = 100) -> Trial:
    return Trial(impressions, 100, completions, watches, typical)


def shares(trials: dict[int, Trial], places: int = 400) -> dict[int, float]:
    counts = Counter(choose(list(trials), trials, growth_share=SHARE, seed=f"s{n}")[0] for n in range(places))
    return {i: counts[i] / places for i in trials}


trial_strategy = st.builds(
    lambda impressions, watches, kept, typical: Trial(impressions, 100, watches * kept, watches, typical),
    st.integers(0, 300),
    st.floats(0, 1000),
    st.floats(0, 1),
    st.floats(0, 1),
)


@given(st.dictionaries(st.integers(1, 2**63 - 1), trial_strategy, min_size=1, max_size=60), st.floats(0, 1), st.text())
def test_a_choice_is_one_of_them_the_same_for_a_seed_and_has_a_probability(
    trials: dict[int, Trial], share: float, seed: str
) -> None:
    chosen, propensity = choose(list(trials), trials, growth_share=share, seed=seed)
    assert chosen in trials and 0 < propensity <= 1
    assert choose(list(trials), trials, growth_share=share, seed=seed) == (chosen, propensity)


def test_propensities_are_the_shares_with_which_videos_are_chosen() -> None:
    trials = {1: new(), 2: replace(new(), impressions=50), 3: seen(20, 15), 4: seen(20, 2), 5: new(LONG)}
    told: dict[int, list[float]] = {i: [] for i in trials}
    for n in range(600):
        chosen, propensity = choose(list(trials), trials, growth_share=SHARE, seed=f"p{n}")
        told[chosen].append(propensity)
    for propensities in told.values():
        share = len(propensities) / 600
        expected = sum(propensities) / len(propensities) if propensities else 0.0
        assert expected == pytest.approx(share, abs=4 * math.sqrt(0.25 / 600))
    # What inverse propensities are for: they add up to as many as there were places.
    assert sum(1 / p for p in told[3]) == pytest.approx(600, rel=0.2)


@settings(max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 8), st.integers(0, 10**6))
def test_every_new_video_gets_its_guaranteed_impressions_when_there_are_places(
    rates: list[float], guaranteed: int, run: int
) -> None:
    trials = {i: new(guaranteed=guaranteed) for i in range(1, len(rates) + 1)}
    need, place = guaranteed * len(rates), 0
    while any(t.impressions < t.guaranteed for t in trials.values()):
        assert place <= 2 * need + 40, "exploration places went elsewhere"
        chosen, _ = choose(list(trials), trials, growth_share=SHARE, seed=f"{run}/{place}")
        trials[chosen] = _shown(trials[chosen], rates[chosen - 1])
        place += 1


def test_where_places_do_not_suffice_all_get_nearly_as_many() -> None:
    trials = {i: new() for i in range(1, 101)}
    for place in range(2000):
        chosen, _ = choose(list(trials), trials, growth_share=SHARE, seed=f"few/{place}")
        trials[chosen] = _shown(trials[chosen], (chosen % 10) / 10)
    had = [trial.impressions for trial in trials.values()]
    assert sum(had) == 2000 and min(had) >= 10 and max(had) <= 25


def _shown(trial: Trial, rate: float) -> Trial:
    return replace(
        trial, impressions=trial.impressions + 1, watches=trial.watches + 1, completions=trial.completions + rate
    )


def test_after_the_guarantee_a_video_grows_or_fades_by_its_first_viewers() -> None:
    found = shares({1: seen(30, 24), 2: seen(30, 9), 3: seen(30, 1)})
    assert found[1] > 0.9 and found[3] < 0.01


def test_before_the_guarantee_is_served_the_first_viewers_speed_it_up() -> None:
    found = shares({1: seen(30, 20, impressions=40), 2: seen(30, 2, impressions=40)})
    assert found[1] > 0.9


def test_a_few_viewers_do_not_decide_yet() -> None:
    found = shares({1: seen(2, 1), 2: seen(2, 0)})
    assert 0.15 < found[2] < 0.5


def test_what_waits_for_its_impressions_keeps_most_places_and_the_others_their_share() -> None:
    found = shares({1: new(), 2: seen(50, 45)})
    assert found[2] == pytest.approx(SHARE, abs=0.07)


def test_no_length_is_favoured_and_a_short_clip_watched_whole_is_not_worth_a_long_one() -> None:
    unknown = shares({1: new(SHORT), 2: new(LONG)})
    assert unknown[1] == pytest.approx(0.5, abs=0.1)
    finished = shares({1: seen(10, 10, SHORT), 2: seen(10, 10, LONG)})
    assert finished[2] > 0.95


def test_those_waiting_longest_and_furthest_from_their_guarantee_are_drawn_among() -> None:
    trials = {i: new() for i in range(1, 101)} | {i: replace(new(), impressions=1) for i in range(101, 121)}
    assert set(shares(trials)) - {i for i, share in shares(trials).items() if share == 0} == set(range(1, 21))


def test_without_trials_all_have_the_same_chance() -> None:
    chosen, propensity = choose([5, 6, 7], {}, growth_share=SHARE, seed="x")
    assert chosen in (5, 6, 7) and propensity == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="nothing to choose"):
        choose([], {}, growth_share=SHARE, seed="x")
