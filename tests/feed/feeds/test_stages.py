"""The stages of a feed as pure functions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from feed_svc.feeds.reasons import Reason, ReasonKind, reason_for
from feed_svc.feeds.rules import Barred, Variety, is_exploration, pick, remembered
from feed_svc.feeds.scoring import Worth, scores_of
from feed_svc.feeds.snapshot import Entry, Snapshot, pack, unpack
from feed_svc.feeds.sources import (
    AGAIN,
    COLD_START,
    FRIENDS,
    INBOX,
    NEW,
    NUMBERS,
    POPULAR,
    RECENT,
    SIMILAR_VIDEO,
    SIMILAR_VIEWERS,
    TASTE,
    TRENDING,
    YOUNG,
    Merged,
    merge,
)
from feed_svc.feeds.store import Candidate, ClientHints, Interaction, Trial
from feed_svc.feeds.taste import taste_of

VARIETY = Variety(author_gap=3, topic_share=0.5, exploration_every=10)
WORTH = Worth(young_hours=48, freshness=0.02, curiosity=0.6, hot_above=1.0)


def entry(video_id: int, author_id: int, topic: int, score: float, source: int = NUMBERS[TASTE]) -> Entry:
    return Entry(video_id, author_id, 0, score, source, int(ReasonKind.NEW), topic, 0)


def picked(tail: list[Entry], before: list[Entry], count: int, barred: Barred | None = None) -> list[Entry]:
    barred = barred or Barred()
    found = pick(tail, before, [], count, page_size=count, variety=VARIETY, seed="s", barred=barred)
    return [p.entry for p in found]


def test_no_author_comes_twice_within_three_places_and_no_topic_takes_more_than_half() -> None:
    tail = [entry(i, 1 + i // 10, 1 if i < 30 else 2 + i % 3, 10 - i / 10) for i in range(60)]
    page = picked(tail, [], 10)
    for i, one in enumerate(page):
        assert one.author_id not in {other.author_id for other in page[max(0, i - 2) : i]}
    assert sum(one.topic == 1 for one in page) <= 5


def test_the_authors_of_the_page_before_are_remembered() -> None:
    tail = [entry(1, 7, 1, 9.0), entry(2, 8, 2, 1.0)]
    assert picked(tail, [entry(100, 7, 1, 1.0)], 1)[0].author_id == 8
    assert picked(tail, [], 1)[0].author_id == 7


def test_authors_and_topics_of_the_snapshot_before_are_remembered() -> None:
    served = [entry(100 + i, i, 1, 1.0) for i in range(30)] + [entry(200, 7, 1, 1.0)]
    memory = remembered((), served)
    assert memory == (*((i, 1) for i in range(11, 30)), (7, 1))
    assert remembered(memory, served[:2]) == (*memory[2:], (0, 1), (1, 1))

    def first(tail: list[Entry], memory: tuple[tuple[int, int], ...]) -> Entry:
        found = pick(tail, [], [], 1, page_size=1, variety=VARIETY, seed="s", barred=Barred(), memory=memory)
        return found[0].entry

    same_author = [entry(1, 7, 2, 9.0), entry(2, 8, 2, 1.0)]
    assert (first(same_author, ()).author_id, first(same_author, memory).author_id) == (7, 8)
    same_topic = [entry(1, 8, 1, 1.1), entry(2, 9, 2, 1.0)]
    assert (first(same_topic, ()).topic, first(same_topic, memory).topic) == (1, 2)


def test_the_place_for_a_young_video_goes_by_trials_and_tells_its_propensity() -> None:
    tail = [entry(i, i, i, 10.0) for i in range(1, 30)]
    tail += [entry(i, i, i, 0.0, NUMBERS[NEW] | YOUNG) for i in range(100, 104)]
    trials = {100 + i: Trial(1000, 100, 40.0 if i == 2 else 0.0, 60.0, 0.3) for i in range(3)}
    found = pick(tail, [], [], 10, page_size=10, variety=VARIETY, seed="s", barred=Barred(), trials=trials)
    explored = [p for p in found if p.explored]
    assert [(p.entry.video_id, p.propensity) for p in explored] == [(102, 1.0)]


@pytest.mark.parametrize("position", range(4, 9))
def test_a_page_holds_two_of_five_of_a_topic_whatever_the_place_for_a_young_video_offers(position: int) -> None:
    """Young videos are all of the topic that is best, too; by an author who was just shown as well as by others."""
    tail = [entry(i, i, 1, 9.0) for i in range(1, 5)] + [entry(i, 50, 2 + i, 1.0) for i in range(5, 25)]
    tail += [entry(i, i, 1, 0.0, NUMBERS[NEW] | YOUNG) for i in range(100, 104)]
    before = [entry(200 + i, 200 + i, 3, 1.0) for i in range(position)]
    found = pick(tail, before, [], 5, page_size=5, variety=VARIETY, seed="s", barred=Barred())
    assert sum(one.entry.topic == 1 for one in found) == 2


def test_where_one_topic_is_all_there_is_it_fills_the_page() -> None:
    tail = [entry(i, i, 1, 1.0) for i in range(10)]
    assert len(picked(tail, [], 5)) == 5


def test_one_author_alone_still_fills_a_page() -> None:
    tail = [entry(i, 7, 1, 1.0) for i in range(10)]
    assert len(picked(tail, [], 10)) == 10


def test_barred_videos_and_authors_are_not_picked() -> None:
    tail = [entry(i, i, i, 1.0) for i in range(1, 6)]
    page = picked(tail, [], 5, Barred(frozenset({1}), frozenset({2})))
    assert {one.video_id for one in page} == {3, 4, 5}


def test_one_place_in_ten_is_for_a_young_video_and_tells_its_propensity() -> None:
    tail = [entry(i, i, i, 10.0) for i in range(1, 30)]
    tail += [entry(i, i, i, 0.0, NUMBERS[NEW] | YOUNG) for i in range(100, 104)]
    found = pick(tail, [], [], 10, page_size=10, variety=VARIETY, seed="s", barred=Barred())
    assert [p.explored for p in found] == [is_exploration(i, 10) for i in range(10)]
    explored = next(p for p in found if p.explored)
    assert explored.entry.video_id >= 100
    assert explored.propensity == pytest.approx(1 / 4)
    assert pick(tail, [], [], 10, page_size=10, variety=VARIETY, seed="s", barred=Barred()) == found


def test_a_video_that_several_sources_offer_comes_before_those_of_one() -> None:
    merged = merge(
        [
            Candidate(1, 10, TASTE),
            Candidate(2, 10, TASTE),
            Candidate(2, 10, TRENDING),
            Candidate(3, 11, TRENDING),
            Candidate(1, 10, TASTE),
        ]
    )
    assert [video.video_id for video in merged] == [2, 1, 3]
    assert merged[0].offered_by == {TASTE, TRENDING}
    assert merged[0].source == TASTE


@pytest.mark.parametrize(
    ("source", "facts", "expected"),
    [
        (TASTE, {"followed": True}, Reason(ReasonKind.FOLLOWED)),
        (AGAIN, {"followed": True}, Reason(ReasonKind.WATCH_AGAIN)),
        (TASTE, {"knows": True}, Reason(ReasonKind.FOR_YOUR_TASTE, hashtag="cats")),
        (TASTE, {"language": "en"}, Reason(ReasonKind.POPULAR_NEAR_YOU)),
        (SIMILAR_VIDEO, {"knows": True}, Reason(ReasonKind.SIMILAR_VIDEO, seed_video_id=9)),
        (TRENDING, {"knows": True, "heat": 2.0}, Reason(ReasonKind.TRENDING)),
        (TRENDING, {"young": True, "heat": 1.0}, Reason(ReasonKind.NEW)),
        (POPULAR, {"heat": 2.0}, Reason(ReasonKind.TRENDING)),
        (COLD_START, {"language": "en", "heat": 2.0}, Reason(ReasonKind.POPULAR_NEAR_YOU)),
        (COLD_START, {"heat": 2.0}, Reason(ReasonKind.TRENDING)),
        (COLD_START, {"signal": "region"}, Reason(ReasonKind.POPULAR_NEAR_YOU)),
        (COLD_START, {"signal": "hour", "language": "en"}, Reason(ReasonKind.TRENDING)),
        (COLD_START, {"signal": "fresh", "young": True}, Reason(ReasonKind.NEW)),
        (SIMILAR_VIEWERS, {"knows": True}, Reason(ReasonKind.SIMILAR_VIEWERS)),
        (FRIENDS, {"knows": True}, Reason(ReasonKind.FRIENDS)),
        (FRIENDS, {"followed": True}, Reason(ReasonKind.FOLLOWED)),
        (COLD_START, {"language": "en-GB"}, Reason(ReasonKind.POPULAR_NEAR_YOU)),
        (COLD_START, {"language": "de", "young": True}, Reason(ReasonKind.NEW)),
        (COLD_START, {"knows": True}, Reason(ReasonKind.FOR_YOUR_TASTE, hashtag="cats")),
        (NEW, {"young": True}, Reason(ReasonKind.NEW)),
        (RECENT, {"young": True}, Reason(ReasonKind.NEW)),
        (COLD_START, {"trial": True}, Reason(ReasonKind.NEW)),
    ],
)
def test_a_reason_is_the_strongest_that_is_true(source: str, facts: dict[str, object], expected: Reason) -> None:
    video = Merged(5, 6, source=source, seed_video_id=9 if source == SIMILAR_VIDEO else 0, hashtags=("pets", "cats"))
    video.offered_by.add(source)
    video.trial = Trial(3, 100, 1.0, 2.0, 0.3) if facts.get("trial") else None
    video.heat, video.signal = float(str(facts.get("heat", 0.0))), str(facts.get("signal", ""))
    acts = [Interaction(9, 6, 1, completed=True, hashtags=("cats",))] if facts.get("knows") else []
    reason = reason_for(
        video,
        followed=bool(facts.get("followed")),
        taste=taste_of(acts, ()),
        language=str(facts.get("language", "")),
        viewer_language="en-US",
        is_young=bool(facts.get("young")),
        hot_above=1.0,
    )
    assert reason == expected


def test_skips_and_refusals_speak_against_a_taste() -> None:
    taste = taste_of(
        [
            Interaction(1, 6, 3, completed=True, hashtags=("cats",)),
            Interaction(2, 6, 2, skipped=True, hashtags=("dogs",)),
            Interaction(3, 7, 1, not_interested=True, hashtags=("golf",)),
        ],
        ("tea",),
    )
    assert dict(taste.hashtags) == {"cats": 1.0, "tea": 1.0}
    assert taste.refused_authors == {7: 1.0}
    liked = Merged(10, 1, source=TASTE, score=1.0, hashtags=("cats",))
    refused = Merged(11, 7, source=TASTE, score=1.0, hashtags=("golf",))
    scores = scores_of(
        [liked, refused],
        {10: 0.5, 11: 0.9},
        followees=frozenset(),
        shown=frozenset(),
        taste=taste,
        ages_h={10: 1.0, 11: 1.0},
        worth=WORTH,
    )
    assert scores[10] > scores[11]


def test_what_the_ranker_did_not_see_comes_behind_what_it_saw() -> None:
    videos = [Merged(1, 1, source=INBOX, score=0.9), Merged(2, 2, source=TASTE, score=0.1)]
    scores = scores_of(
        videos,
        {2: -5.0},
        followees={1},
        shown=frozenset(),
        taste=taste_of((), ()),
        ages_h={},
        worth=WORTH,
    )
    assert scores[2] > scores[1]


def scored(videos: list[Merged], acts: list[Interaction], ages_h: dict[int, float] | None = None) -> dict[int, float]:
    """Without any ranks."""
    nobody = frozenset[int]()
    taste = taste_of(acts, ())
    return scores_of(videos, {}, followees=nobody, shown=nobody, taste=taste, ages_h=ages_h or {}, worth=WORTH)


def test_topics_that_a_viewer_met_little_of_come_forward_the_larger_the_more() -> None:
    videos = [Merged(i, 1, score=1.0, hashtags=("cats",) if i < 6 else ("golf",) if i < 8 else ()) for i in range(10)]
    fresh = scored(videos, [])
    assert fresh[0] > fresh[7] > fresh[9]
    met = [Interaction(100 + i, 1, 1, skipped=True, hashtags=("cats",)) for i in range(3)]
    later = scored(videos, met)
    assert later[7] > later[0] > later[9]
    refused = scored(videos, [Interaction(100, 9, 1, not_interested=True, hashtags=("cats",))])
    assert refused[0] < refused[9] < refused[7]
    fan = [Interaction(300 + i, 1, 1, completed=True, hashtags=("tea",)) for i in range(6)]
    assert 0 < scored(videos, fan)[0] - scored(videos, fan)[9] < fresh[0] - fresh[9]
    forgotten = [*(Interaction(200 + i, 1, 1, hashtags=("tea",)) for i in range(80)), *met]
    assert scored(videos, forgotten)[0] > scored(videos, forgotten)[7]


def test_being_new_decides_between_equals_alone() -> None:
    videos = [Merged(1, 1, score=1.0), Merged(2, 2, score=0.5), Merged(3, 3, score=0.5)]
    scores = scored(videos, [], {1: 500.0, 2: 500.0, 3: 0.0})
    assert scores[1] > scores[3] > scores[2]


def test_what_nobody_watched_is_not_trending() -> None:
    videos = [Merged(i, i, score=1.0, offered_by={TRENDING}, heat=heat) for i, heat in ((1, 1.0), (2, 1.5), (3, 0.0))]
    scores = scored(videos, [])
    assert scores[2] > scores[1] == scores[3]


def test_a_packed_snapshot_is_small_and_comes_back_as_it_was() -> None:
    hints = ClientHints("phone", "phone", "Europe/Berlin", "de", "DE")
    entries = tuple(entry(2**62 + i, 2**61 + i, i % 7, 0.5) for i in range(600))
    snapshot = Snapshot(
        "1f", "u7", 12, 34, hints, 1, 2, 3, 4, 5, "m1", True, False, {3: "größe"}, entries[:100], entries[100:], (1, 2)
    )
    trials = {2**62 + i: Trial(3, 100, 1.5, 2.25, 0.3) for i in range(20)}
    snapshot = replace(snapshot, memory=((2**61, 3),) * 20, trials=trials)
    data = pack(snapshot)
    assert unpack(data) == snapshot
    assert len(data) < 26_000
    assert unpack(data).trials == trials
