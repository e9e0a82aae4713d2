"""Trials of young videos: who is offered, and what their viewers say against others of their length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank_svc.features.lengths import typical
from rank_svc.features.store import VideoFacts, VideoRecord, VideoStats
from rank_svc.retrieval.trials import Trial, in_order, offered, quality, trial_of

LENGTHS = typical({})
SHORT, LONG = 3_000, 60_000


def record(duration_ms: int, views: int, completions: int, trusted: float = 1.0) -> VideoRecord:
    stats = VideoStats(views=views, completions=completions)
    stats.trusted_views, stats.trusted_completions = views * trusted, completions * trusted
    return VideoRecord(VideoFacts(1, 9, duration_ms=duration_ms), stats)


def trial(duration_ms: int, views: int, completions: int, trusted: float = 1.0) -> Trial:
    return trial_of(record(duration_ms, views, completions, trusted), LENGTHS, 100, 20.0)


def test_no_length_has_an_advantage_while_nothing_is_known() -> None:
    assert trial(SHORT, 0, 0).lift() == trial(LONG, 0, 0).lift() == 0


def test_a_short_clip_watched_whole_is_not_worth_a_long_one() -> None:
    assert trial(LONG, 10, 10).lift() > trial(SHORT, 10, 10).lift() > 0
    assert quality(record(LONG, 10, 10), LENGTHS, 20) > quality(record(SHORT, 10, 10), LENGTHS, 20) > 0
    assert trial(LONG, 10, 2).lift() == pytest.approx(0, abs=0.1)
    assert trial(SHORT, 10, 2).lift() < -1


def test_a_burst_of_new_accounts_moves_a_trial_no_more_than_its_allowance() -> None:
    burst = trial(LONG, 1000, 1000, trusted=0.0)
    assert burst.watches < 20 and burst.completions < 20
    alone = trial(LONG, 20, 5, trusted=0.5)
    assert alone.watches == pytest.approx(17.5) and alone.completions == pytest.approx(4.375)


@given(st.integers(0, 500), st.data(), st.floats(0, 1), st.sampled_from([SHORT, 8_000, 15_000, 30_000, LONG, 300_000]))
def test_counts_of_a_trial_are_within_those_of_its_video_and_finite(
    views: int, data: st.DataObject, trusted: float, duration_ms: int
) -> None:
    completions = data.draw(st.integers(0, views))
    made = trial(duration_ms, views, completions, trusted)
    assert 0 <= made.completions <= made.watches <= views + 1e-6
    assert abs(made.lift()) < 50
    assert quality(record(duration_ms, views, completions, trusted), LENGTHS, 20) < 1


def young(video_id: int, impressions: int, completions: float = 0, watches: float = 0) -> Trial:
    return Trial(video_id, impressions, 100, completions, watches, 0.3)


def test_two_that_are_owed_impressions_come_for_one_that_had_them_and_did_best() -> None:
    owed = [young(i, i) for i in range(20)]
    grown = [young(100 + i, 100, completions=i, watches=20) for i in range(20)]
    found = [t.video_id for t in offered(in_order([*grown, *owed]), 12)]
    assert found == [0, 1, 119, 2, 3, 118, 4, 5, 117, 6, 7, 116]
    assert [t.video_id for t in offered(in_order([*owed, *grown[:1]]), 12)] == [0, 1, 100, *range(2, 11)]
    assert [t.video_id for t in offered(in_order(grown), 2)] == [119, 118]
    assert [t.video_id for t in offered(owed, 3)] == [0, 1, 2]


def test_what_its_viewers_left_is_owed_as_much_as_what_they_finished() -> None:
    assert [t.video_id for t in offered([young(1, 5, watches=5), young(2, 6, 6, 6)], 1)] == [1]


@given(st.lists(st.integers(0, 200), max_size=40), st.integers(0, 50))
def test_each_is_offered_once_and_none_is_left_out_while_there_is_room(shown: list[int], limit: int) -> None:
    trials = [young(i, impressions, 1, 3) for i, impressions in enumerate(shown)]
    found = offered(in_order(trials), limit)
    assert len({t.video_id for t in found}) == len(found) == min(limit, len(trials))
    owed = [t.video_id for t in found if t.owed]
    assert owed == [t.video_id for t in trials if t.owed][: len(owed)]
