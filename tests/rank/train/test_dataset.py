"""Dataset folders: what is accepted, and how what is broken is named."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rank_svc.train.columns import DatasetError
from rank_svc.train.dataset import load
from rank_svc.train.histories import build
from rank_svc.train.served import content
from tests.rank.train.conftest import Write

GREATEST = 2**63 - 1


def test_only_user_and_item_are_needed(write: Write) -> None:
    data = load(write(interactions={"user_id": [1, 1], "item_id": [5, 6]}))
    histories = build(data.interactions)
    assert data.interactions.positive.all()
    assert not histories.ordered
    assert sorted(histories.items.tolist()) == [5, 6]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"interactions\.parquet: there is no such file"):
        load(tmp_path)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "interactions.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(DatasetError, match=r"interactions\.parquet: not a Parquet file"):
        load(tmp_path)


def test_a_missing_id_column_is_named_with_those_that_there_are(write: Write) -> None:
    with pytest.raises(DatasetError, match="there is no column item_id; columns are user_id, 名前"):
        load(write(interactions={"user_id": [1], "名前": ["x"]}))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("item_id", [3, None], "row 1, column item_id"),
        ("item_id", [3, -4], "row 1, column item_id: -4 is below 0"),
        ("item_id", ["a", "b"], "column item_id is string, must be int64"),
        ("user_id", [1.5, 2.0], "row 0, column user_id: 1.5 is not a whole number"),
        ("long_view", [0, 2], "row 1, column long_view: 2 is neither true nor false"),
        ("watched_ms", [5, -1], "row 1, column watched_ms: -1 is below 0"),
    ],
)
def test_what_is_broken_is_named_by_row_and_column(
    write: Write, column: str, values: list[object], message: str
) -> None:
    columns: dict[str, list[object]] = {"user_id": [1, 2], "item_id": [3, 4]}
    with pytest.raises(DatasetError, match=message):
        load(write(interactions=columns | {column: values}))


def test_a_number_of_an_item_must_be_finite(write: Write) -> None:
    folder = write(interactions={"user_id": [1], "item_id": [3]}, items={"item_id": [3], "n_length": [float("inf")]})
    with pytest.raises(DatasetError, match=r"items\.parquet: row 0, column n_length"):
        load(folder)


def test_vectors_must_have_one_length(write: Write) -> None:
    folder = write(
        interactions={"user_id": [1], "item_id": [3]},
        items={"item_id": [3, 4], "v_look": [[1.0, 2.0], [1.0]]},
    )
    with pytest.raises(DatasetError, match="row 1, column v_look: has 1 numbers, others 2"):
        load(folder)


def test_a_row_that_is_named_is_that_of_the_file(write: Write) -> None:
    items = {"item_id": [9, 3, 3], "n_length": [1.0, 2.0, float("inf")]}
    with pytest.raises(DatasetError, match=r"items\.parquet: row 2, column n_length"):
        load(write(interactions={"user_id": [1], "item_id": [3]}, items=items))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("v_look", [1.0, 2.0], "column v_look is double, must be lists of numbers"),
        ("v_look", [["a"], ["b"]], "column v_look is list<.*string>, must be lists of numbers"),
        ("v_look", ["a", "b"], "column v_look is string, must be lists of numbers"),
        ("v_look", [[1.0], [None]], "row 1, column v_look: a number in it is null"),
    ],
)
def test_what_is_broken_of_an_item_is_one_line(write: Write, column: str, values: list[object], message: str) -> None:
    folder = write(interactions={"user_id": [1], "item_id": [3]}, items={"item_id": [4, 3], column: values})
    with pytest.raises(DatasetError, match=message) as told:
        load(folder)
    assert "\n" not in str(told.value) and "items.parquet" in str(told.value)


def test_an_id_beyond_the_greatest_is_named(write: Write) -> None:
    ids = pa.array([3, GREATEST + 1], pa.uint64())
    with pytest.raises(DatasetError, match=r"interactions\.parquet: row 1, column item_id: \d+ is more than"):
        load(write(interactions={"user_id": [1, 2], "item_id": ids}))


def test_an_author_of_thousands_of_digits_is_a_name_like_another(write: Write) -> None:
    authors = ["7", "9" * 5000, "8" * 5000]
    data = load(write(interactions={"user_id": [1], "item_id": [3]}, items={"item_id": [3, 4, 5], "c_author": authors}))
    found = content(data.catalogue, data.items).author_ids.tolist()
    assert found[0] == 7 and len(set(found)) == 3


def test_two_columns_of_one_name_are_refused(write: Write) -> None:
    folder = write(interactions={"user_id": [1], "item_id": [3]})
    pq.write_table(pa.table([[3], ["a"], ["b"]], names=["item_id", "c_x", "c_x"]), folder / "items.parquet")
    with pytest.raises(DatasetError, match=r"items\.parquet: there are 2 columns c_x"):
        load(folder)


def test_columns_that_are_null_throughout_count_as_absent(write: Write) -> None:
    columns = {"user_id": [1, 1], "item_id": [3, 4]}
    nothing = {name: [None, None] for name in ("like", "timestamp_ms", "source", "position")}
    unknown = {name: [None] for name in ("n_a", "v_b", "c_c")}
    data = load(write(interactions=columns | nothing, items={"item_id": [3]} | unknown))
    assert not data.interactions.flags and not data.interactions.wholes and not data.interactions.texts
    assert data.interactions.positive.all()
    assert not data.items.numbers and not data.items.vectors and not data.items.categories
    with pytest.raises(DatasetError, match="there is no column item_id"):
        load(write(interactions={"user_id": [1], "item_id": [None]}))


def test_the_greatest_ids_stay_what_they_are(write: Write) -> None:
    data = load(write(interactions={"user_id": [GREATEST], "item_id": [GREATEST]}))
    assert data.catalogue.tolist() == [GREATEST]


def test_columns_in_any_script_are_features(write: Write) -> None:
    data = load(write(interactions={"user_id": [1], "item_id": [3]}, items={"item_id": [3], "c_話題": [["猫", "犬"]]}))
    assert data.items.categories["話題"] == [["猫", "犬"]]


def test_rows_that_repeat_others_count_once(write: Write) -> None:
    columns = {"user_id": [1, 1, 1], "item_id": [3, 3, 3], "timestamp_ms": [5, 5, 6]}
    data = load(write(interactions=columns))
    assert len(data.interactions) == 2
    assert "1 rows repeat others" in data.notes[0]


def test_of_repeated_items_the_last_row_counts(write: Write) -> None:
    folder = write(interactions={"user_id": [1], "item_id": [3]}, items={"item_id": [3, 3], "c_author": ["old", "new"]})
    data = load(folder)
    assert data.items.categories["author"] == [["new"]]
    assert "repeat a item_id" in data.notes[0]


def test_times_going_backwards_are_put_in_order(write: Write) -> None:
    columns = {"user_id": [1, 1, 1], "item_id": [3, 4, 5], "timestamp_ms": [30, 10, 20]}
    histories = build(load(write(interactions=columns)).interactions)
    assert histories.items.tolist() == [4, 5, 3]


def test_an_item_met_twice_keeps_its_last_place_and_what_was_done(write: Write) -> None:
    columns = {
        "user_id": [1, 1, 1],
        "item_id": [3, 4, 3],
        "timestamp_ms": [10, 20, 30],
        "like": [True, False, False],
    }
    histories = build(load(write(interactions=columns)).interactions)
    assert histories.items.tolist() == [4, 3]
    assert histories.flags["like"].tolist() == [False, True]


def test_times_between_known_ones_are_estimated_by_position(write: Write) -> None:
    columns = {
        "user_id": [1, 1, 1, 2],
        "item_id": [3, 4, 5, 3],
        "position": [0, 1, 2, 0],
        "timestamp_ms": [None, None, 400, 100],
    }
    histories = build(load(write(interactions=columns)).interactions)
    assert histories.times_ms.tolist() == [200, 300, 400, 100]


def test_one_user_and_one_item_are_a_dataset(write: Write) -> None:
    histories = build(load(write(interactions={"user_id": [0], "item_id": [0]})).interactions)
    assert histories.users.tolist() == [0]
    assert histories.starts.tolist() == [0, 1]
