"""The first videos of somebody of whom nothing is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from feed_svc.feeds.first_videos import GOOD, lifted, tell_apart

TAGS = ("cats", "cars", "cooking", "dance", "chess", "surf")


def test_the_first_five_are_of_five_topics_each_by_its_best() -> None:
    ranked = [(i, (TAGS[i // 10],)) for i in range(50)]
    assert tell_apart(ranked, 5) == [0, 10, 20, 30, 40]


def test_what_shares_no_hashtag_comes_before_what_shares_some_and_that_before_what_has_none() -> None:
    ranked = [(1, ("cats", "fun")), (2, ()), (3, ("cats", "fun")), (4, ("dogs", "fun")), (5, ("chess",))]
    assert tell_apart(ranked, 5) == [1, 5, 4, 3, 2]


def test_a_video_that_is_not_good_is_not_among_them_however_different() -> None:
    ranked = [(i, ("cats",)) for i in range(GOOD)] + [(999, ("chess",))]
    assert 999 not in tell_apart(ranked, 5)


@given(st.lists(st.lists(st.sampled_from(TAGS), max_size=3), max_size=30), st.integers(0, 8))
def test_each_is_chosen_once_and_no_choice_of_the_next_would_have_been_further_away(
    tags: list[list[str]], count: int
) -> None:
    ranked = list(enumerate(tags))
    chosen = tell_apart(ranked, count)
    assert len(set(chosen)) == len(chosen) == min(count, len(ranked))
    topics = {tag for _, some in ranked for tag in some}
    single = [i for i, some in ranked if len(set(some)) == 1]
    if all(len(set(some)) == 1 for _, some in ranked) and single:
        assert len({tags[i][0] for i in chosen}) == min(count, len(topics))


def test_they_come_first_in_their_order_and_nothing_else_changes() -> None:
    scores = {1: 0.5, 2: 0.9, 3: -1.0, 4: 0.1}
    found = lifted(scores, [3, 1])
    assert sorted(found, key=lambda i: -found[i]) == [3, 1, 2, 4]
    assert (found[2], found[4]) == (0.9, 0.1)
    assert lifted({}, []) == {}
