"""What the ranker's rows know of a log that has watches in both tables, as our own archive does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is in the extra `train`")

from rank_svc.scorers.store import RANK_FEATURES, Floats
from rank_svc.train.dataset import load
from rank_svc.train.histories import build
from rank_svc.train.impressions import Rows, Timeline, replay
from rank_svc.train.served import content
from tests.rank.train.conftest import DAY_MS, Write, impressions, world

SECOND = 1000
Columns = dict[str, list[Any]]


def _replayed(write: Write, shown: Columns, *more: tuple[int, int, int, bool]) -> tuple[Rows, Timeline]:
    """`more`: interactions (user, item, time, watched long and liked) beside those of `world`."""
    tables = world()
    rows = tables["interactions"]
    for user, item, at, liked in more:
        for name, value in zip(rows, (user, item, at, liked, liked), strict=True):
            rows[name].append(value)
    data = load(write(**tables, impressions=shown))
    return replay(data, build(data.interactions), content(data.catalogue, data.items))


def _page(*rows: tuple[int, int, int, bool]) -> Columns:
    """Impressions (user, item, time, watched whole and liked)."""
    user, item, at, liked = (list(column) for column in zip(*rows, strict=True))
    watched = [10_000 if yes else 500 for yes in liked]
    return {
        "user_id": user,
        "item_id": item,
        "timestamp_ms": at,
        "watched_ms": watched,
        "duration_ms": [10_000] * len(user),
        "like": liked,
        "long_view": liked,
    }


def _of(rows: Rows, *names: str) -> Floats:
    return rows.features[:, [RANK_FEATURES.index(name) for name in names]]


def test_a_watch_that_is_in_both_tables_is_known_once_and_only_afterwards(write: Write) -> None:
    # Pairs that `world` has not: of an item that a user met before, the history keeps the last time alone.
    met = set(zip(world()["interactions"]["user_id"], world()["interactions"]["item_id"], strict=True))
    shown = impressions()
    pairs = list(zip(shown["user_id"], shown["item_id"], strict=True))
    kept = [i for i, pair in enumerate(pairs) if pair not in met and pair not in pairs[:i]]
    shown = {name: [column[i] for i in kept] for name, column in shown.items()}
    alone, line = _replayed(write, shown)
    names = ("user_id", "item_id", "timestamp_ms", "long_view")
    watched = [(u, i, at + 20 * SECOND, liked) for u, i, at, liked in zip(*map(shown.get, names), strict=True)]
    both, same_line = _replayed(write, shown, *watched)
    np.testing.assert_array_equal(both.features, alone.features)
    np.testing.assert_array_equal(both.last - both.first, alone.last - alone.first)
    assert len(same_line.items) == len(line.items)


def test_a_watch_of_another_page_counts_from_its_time_on(write: Write) -> None:
    day = 30 * DAY_MS
    shown = _page((70, 4, day, False), (71, 4, day + 2 * DAY_MS, False))
    before, _ = _replayed(write, shown)
    after, _ = _replayed(write, shown, (72, 4, day + DAY_MS, True))
    names = ("views_log", "completion_rate", "like_rate")
    np.testing.assert_array_equal(_of(after, *names)[0], _of(before, *names)[0])
    assert (_of(after, *names)[1] > _of(before, *names)[1]).all()


def test_what_is_shown_at_one_moment_knows_nothing_of_how_the_rest_of_it_went(write: Write) -> None:
    day = 30 * DAY_MS
    liked, _ = _replayed(write, _page((70, 4, day, True), (70, 6, day, False), (70, 8, day + 1, False)))
    passed, _ = _replayed(write, _page((70, 4, day, False), (70, 6, day, False), (70, 8, day + 1, False)))
    np.testing.assert_array_equal(liked.features[1], passed.features[1])
    felt = [_of(rows, "tag_affinity")[2, 0] for rows in (liked, passed)]
    assert felt[0] > felt[1]


def test_a_watch_before_an_impression_is_its_history(write: Write) -> None:
    day = 30 * DAY_MS
    shown = _page((70, 4, day, False))
    rows, _ = _replayed(write, shown, (70, 6, day - SECOND, True))
    assert int(rows.last[0] - rows.first[0]) == 1
