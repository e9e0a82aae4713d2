"""KuaiRand as a dataset folder."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rank_svc.train.columns import DatasetError
from rank_svc.train.dataset import load
from rank_svc.train.kuairand import convert, merge, positions


def test_long_watches_are_found_from_the_newest_on_and_older_ones_come_first() -> None:
    assert merge([7, 8, 7], [5, 7], [8]) == [(5, True, False), (7, False, False), (8, False, True), (7, True, False)]


def test_a_like_of_something_older_comes_first() -> None:
    assert merge([7], [], [9]) == [(9, False, True), (7, False, False)]


def test_positions_end_with_the_length_of_the_history() -> None:
    assert positions(4, 2, 10) == [0, 4, 8, 9]
    assert positions(2, 2, 0) == [0, 1]


def _source(folder: Path) -> Path:
    folder.mkdir()
    pq.write_table(
        pa.table(
            {
                "user_id": [0],
                "history_len": [3],
                "last_time_ms": [1000],
                "watch_seq": [[1, 2]],
                "like_seq": pa.array([[]], pa.list_(pa.int64())),
                "long_watch_seq": [[3, 2]],
            }
        ),
        folder / "user_sequences.parquet",
    )
    impressions = {
        "user_id": [0, 0, 0],
        "video_id": [4, 4, 5],
        "time_ms": [2000, 3000, 4000],
        "play_time_ms": [10, 20, 30],
        "duration_ms": [20, 20, 30],
        "is_like": [0, 0, 0],
        "long_view": [1, 0, 0],
        "is_positive": [1, 1, 0],
    }
    pq.write_table(pa.table(impressions), folder / "val.parquet")
    (folder / "video_features_basic_pure.csv").write_text(
        'video_id,author_id,video_duration,tag,upload_dt\n1,77,5000.0,"3,4",2022-04-10\n2,78,,UNKNOWN,\n',
        encoding="utf-8",
    )
    return folder


def test_the_folder_has_interactions_impressions_truth_and_items(tmp_path: Path) -> None:
    convert(_source(tmp_path / "src"), tmp_path / "out")
    data = load(tmp_path / "out")
    assert data.interactions.item_ids.tolist() == [3, 1, 2]
    assert data.interactions.wholes["timestamp_ms"].tolist() == [-1, -1, 1000]
    assert data.interactions.positive.tolist() == [True, False, True]
    assert data.items.categories["tags"] == [["3", "4"], []]
    assert data.items.numbers["duration_s"][0] == 5.0
    assert data.impressions is not None and len(data.impressions) == 3
    truth = pq.read_table(tmp_path / "out" / "val.truth.parquet").to_pylist()
    assert truth == [{"user_id": 0, "item_id": 4}]


def test_nothing_is_left_behind_when_the_source_is_broken(tmp_path: Path) -> None:
    source = _source(tmp_path / "src")
    (source / "video_features_basic_pure.csv").write_text("video_id,video_duration\n1,long\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="row 0, column video_duration: 'long' is not a number"):
        convert(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["src"]
