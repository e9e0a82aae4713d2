"""What acts are worth."""

from __future__ import annotations

import pytest

from feed_svc.settings import FeedSettings
from feed_svc.trending.scoring import (
    BUCKET_MS,
    DAY_MS,
    HOUR_MS,
    Weights,
    acts_of,
    bucket_of,
    bucket_worth,
    rank_of,
    score_at,
    view_worth,
    viral_among,
)
from feed_svc.trending.store import Act, Bucket
from reelgraph.events.v1.engagement_pb2 import EngagementVideoLiked
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.watch_pb2 import WatchRecorded
from svc_kit.ids import EPOCH_MS

WEIGHTS = Weights.of(FeedSettings())
NOW = 1_800_000_000_000
HALF_LIFE = int(WEIGHTS.half_life_ms)


def worth(watched_s: float, duration_s: float) -> float:
    return view_worth(int(watched_s * 1000), int(duration_s * 1000), 60)


def test_a_short_clip_watched_whole_is_worth_less_than_a_long_one() -> None:
    assert worth(3, 3) == pytest.approx(0.337, abs=0.001)
    assert worth(60, 60) == pytest.approx(1)
    assert worth(3, 3) > worth(3, 60) == pytest.approx(0.017, abs=0.001)
    assert worth(180, 180) == pytest.approx(1)


def test_watching_more_is_never_worth_less_and_loops_count_once() -> None:
    values = [worth(seconds, 30) for seconds in range(31)]
    assert values == sorted(values) and values[0] == 0
    assert worth(300, 30) == worth(30, 30)
    assert view_worth(500, 0, 60) == 0


def test_a_score_halves_in_a_half_life_and_order_never_depends_on_when_it_is_asked() -> None:
    rank = rank_of(NOW, [], WEIGHTS)
    assert score_at(rank, NOW, WEIGHTS) == pytest.approx(1)
    assert score_at(rank, NOW + HALF_LIFE, WEIGHTS) == pytest.approx(0.5)
    assert score_at(rank, NOW + 5 * HALF_LIFE, WEIGHTS) == pytest.approx(1 / 32)
    bucket = bucket_of(NOW)
    viewed = rank_of(NOW, [Bucket(bucket, 3, 3000)], WEIGHTS)
    assert score_at(viewed, bucket * BUCKET_MS, WEIGHTS) == pytest.approx(4, rel=0.03)


def test_two_new_views_outweigh_two_views_of_a_half_life_ago() -> None:
    old, new = bucket_of(NOW - HALF_LIFE), bucket_of(NOW)
    assert rank_of(0, [Bucket(new, 2, 2000)], WEIGHTS) == pytest.approx(rank_of(0, [Bucket(old, 4, 4000)], WEIGHTS))
    assert rank_of(0, [Bucket(new, 2, 2000)], WEIGHTS) > rank_of(0, [Bucket(old, 3, 3000)], WEIGHTS)


def test_ranks_of_far_apart_times_neither_overflow_nor_vanish() -> None:
    ancient, future = rank_of(0, [], WEIGHTS), rank_of(NOW * 3, [Bucket(1, 1, 10**12)], WEIGHTS)
    assert ancient < future
    assert score_at(ancient, NOW, WEIGHTS) >= 0


def test_what_was_taken_back_beyond_zero_counts_nothing() -> None:
    assert rank_of(NOW, [Bucket(bucket_of(NOW), 0, -5000)], WEIGHTS) == rank_of(NOW, [], WEIGHTS)


def account(age_ms: int, number: int = 0) -> int:
    return ((NOW - age_ms - EPOCH_MS) << 22) + number


def liked(user_id: int, video_id: int = 1) -> Act:
    body = EngagementVideoLiked(user_id=user_id, video_id=video_id, author_id=9)
    event = Event(entity=f"like:{user_id}:{video_id}", entity_version=1, engagement_video_liked=body)
    event.occurred_at.FromMilliseconds(NOW)
    (act,) = acts_of(event, WEIGHTS)
    return act


def worth_of(acts: list[Act]) -> float:
    bucket = Bucket(bucket_of(NOW), 0, sum(a.weight_milli for a in acts), sum(a.fresh_milli for a in acts))
    return bucket_worth(bucket, WEIGHTS)


def test_a_like_of_an_established_account_counts_whole_and_the_age_is_in_the_id() -> None:
    assert (liked(account(90 * HOUR_MS)).weight_milli, liked(account(90 * HOUR_MS)).fresh_milli) == (2000, 0)
    assert (liked(account(0)).weight_milli, liked(account(0)).fresh_milli) == (0, 2000)
    assert (liked(account(36 * HOUR_MS)).weight_milli, liked(account(36 * HOUR_MS)).fresh_milli) == (500, 1500)


def test_a_burst_of_accounts_of_an_hour_ago_is_worth_less_than_a_few_established_ones() -> None:
    burst = [liked(account(HOUR_MS, n)) for n in range(1000)]
    established = [liked(account(90 * HOUR_MS, n)) for n in range(40)]
    alone, few, together = worth_of(burst), worth_of(established), worth_of([*established, *burst])
    assert alone < 1.2 * WEIGHTS.newcomers < few == 80
    assert few < together < 2.1 * few


def watched(watched_ms: int, at_ms: int, number: int) -> list[Act]:
    body = WatchRecorded(user_id=5, video_id=1, author_id=9, watched_ms=watched_ms, duration_ms=60_000)
    event = Event(entity=f"watch:5:{number}", entity_version=1, watch_recorded=body)
    event.occurred_at.FromMilliseconds(at_ms)
    return list(acts_of(event, WEIGHTS))


def test_of_the_watches_of_an_account_in_a_day_the_best_and_then_the_earliest_has_worth_and_all_are_views() -> None:
    times = [(30_000, NOW), (60_000, NOW + HOUR_MS), (60_000, NOW), (10_000, NOW), (60_000, NOW + DAY_MS)]
    acts = [act for number, (ms, at) in enumerate(times) for act in watched(ms, at, number)]
    assert sum(act.views for act in acts) == 5
    by_entity: dict[str, list[Act]] = {}
    for act in acts:
        by_entity.setdefault(act.entity, []).append(act)
    counted = [max(several, key=lambda act: act.version) for several in by_entity.values()]
    assert [(act.bucket, act.weight_milli) for act in counted if act.weight_milli] == [
        (bucket_of(NOW), 1000),
        (bucket_of(NOW + DAY_MS), 1000),
    ]


def test_on_a_platform_where_all_are_new_more_likes_still_come_first() -> None:
    worths = [worth_of([liked(account(0, n)) for n in range(count)]) for count in (0, 1, 2, 5, 20, 100)]
    assert worths == sorted(set(worths))
    assert worths[1] > 0.7 * 2


def test_viral_is_over_the_setting_or_in_the_top_share_of_enough_videos() -> None:
    settings = FeedSettings(viral_views_an_hour=100, viral_least_views=20, viral_least_videos=100)
    assert viral_among([(1, 101), (2, 100)], settings) == [(1, 101)]
    crowd = [(n, 50 - n // 4) for n in range(200)]
    assert viral_among(crowd, settings) == crowd[:2]
    assert viral_among(crowd[:99], settings) == []
    assert viral_among([(n, 19) for n in range(500)], settings) == []
