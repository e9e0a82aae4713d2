"""The platform's archive as a dataset folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rank_svc.train.archive import convert
from rank_svc.train.columns import DatasetError
from rank_svc.train.dataset import load

HOUR = 3_600_000


def _archive(folder: Path, events: list[tuple[str, int, dict[str, Any]]]) -> Path:
    part = folder / "events" / "date=2027-01-31" / "topic=mixed"
    part.mkdir(parents=True)
    rows = [
        {"id": i + 1, "type": kind, "actor_id": 0, "occurred_at_ms": at, "body": json.dumps(body)}
        for i, (kind, at, body) in enumerate(events)
    ]
    pq.write_table(pa.Table.from_pylist(rows), part / "part-0000.parquet")
    pq.write_table(pa.Table.from_pylist(rows[:1]), part / "part-0001.parquet")
    return folder


def _watch(user: int, video: int, **more: object) -> dict[str, Any]:
    return {"user_id": str(user), "video_id": str(video), "watched_ms": "900", "duration_ms": "1000", **more}


def _served(user: int, *videos: int) -> dict[str, Any]:
    shown = [
        {"impression_id": str(100 + v), "video_id": str(v), "position": i, "source": "TASTE", "propensity": 0.5}
        for i, v in enumerate(videos)
    ]
    return {"user_id": str(user), "impressions": shown, "model_version": "base-1"}


def test_impressions_carry_what_followed_and_unseen_ones_are_shown_only(tmp_path: Path) -> None:
    events = [
        (
            "video_published",
            1,
            {"video": {"video_id": "5", "author_id": "9", "hashtags": ["cats"], "duration_ms": "1000"}},
        ),
        ("feed_served", HOUR, _served(1, 5, 6)),
        ("watch_recorded", HOUR + 10, _watch(1, 5, completed=True)),
        ("engagement_video_liked", HOUR + 20, {"user_id": "1", "video_id": "5"}),
        ("follow_created", HOUR + 30, {"follower_id": "1", "followee_id": "9"}),
        ("watch_recorded", 9 * HOUR, _watch(2, 6)),
    ]
    convert(_archive(tmp_path / "archive", events), tmp_path / "out")
    data = load(tmp_path / "out")
    assert data.impressions is not None
    assert data.impressions.item_ids.tolist() == [5, 6]
    assert data.impressions.flags["like"].tolist() == [True, False]
    assert data.impressions.flags["follow"].tolist() == [True, False]
    assert data.impressions.wholes["watched_ms"].tolist() == [900, 0]
    assert sorted(zip(data.interactions.user_ids, data.interactions.item_ids, strict=True)) == [(1, 5), (2, 6)]
    assert pq.read_table(tmp_path / "out" / "interactions.parquet").column("shown_only").to_pylist() == [
        False,
        True,
        False,
    ]
    assert data.items.categories["tags"] == [["cats"]]


def test_what_is_done_follows_from_the_last_time_that_a_video_was_served(tmp_path: Path) -> None:
    events = [
        ("feed_served", HOUR, _served(1, 5, 6)),
        ("feed_served", HOUR + 100, _served(1, 5)),
        ("watch_recorded", HOUR + 200, _watch(1, 5, completed=True)),
        ("engagement_video_liked", HOUR + 300, {"user_id": "1", "video_id": "5"}),
    ]
    convert(_archive(tmp_path / "archive", events), tmp_path / "out")
    impressions = pq.read_table(tmp_path / "out" / "impressions.parquet").to_pylist()
    told = [(row["timestamp_ms"], row["item_id"], row["watched_ms"], row["like"]) for row in impressions]
    assert sorted(told) == [(HOUR, 5, 0, False), (HOUR, 6, 0, False), (HOUR + 100, 5, 900, True)]


def test_a_like_taken_back_and_deleted_accounts_leave_nothing(tmp_path: Path) -> None:
    events = [
        ("watch_recorded", 1, _watch(1, 5)),
        ("engagement_video_liked", 2, {"user_id": "1", "video_id": "5"}),
        ("engagement_video_unliked", 3, {"user_id": "1", "video_id": "5"}),
        ("watch_recorded", 4, _watch(2, 5)),
        ("account_deleted", 5, {"account_id": "2"}),
    ]
    convert(_archive(tmp_path / "archive", events), tmp_path / "out")
    data = load(tmp_path / "out")
    assert data.interactions.user_ids.tolist() == [1]
    assert not data.interactions.flags["like"].any()


def test_an_archive_without_watches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no archive"):
        convert(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(DatasetError, match="nobody has watched"):
        convert(_archive(tmp_path / "archive", [("account_deleted", 1, {"account_id": "1"})]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
