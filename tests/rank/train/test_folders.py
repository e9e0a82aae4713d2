"""What a command that writes a folder may replace, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from launcher.ranking_cli import register
from rank_svc.train.archive import convert as convert_archive
from rank_svc.train.folders import check_out, whole_or_not
from rank_svc.train.kuairand import convert as convert_kuairand
from tests.rank.train.conftest import Write, world

MARK = "version.json"


def _filled(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_text("{}", encoding="utf-8")
    return folder


def test_nothing_an_empty_folder_and_one_of_its_kind_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "none", tmp_path / "empty", _filled(tmp_path / "former", MARK)):
        check_out(place, MARK, tmp_path / "data")
        with whole_or_not(place) as fresh:
            (fresh / "new").write_text("", encoding="utf-8")
        assert [path.name for path in place.iterdir()] == ["new"]


def test_a_folder_of_something_else_and_a_file_are_refused(tmp_path: Path) -> None:
    photos = _filled(tmp_path / "photos", "cat.jpg")
    with pytest.raises(ValueError, match=r"photos: is not empty and has no version\.json"):
        check_out(photos, MARK)
    with pytest.raises(ValueError, match="is a file"):
        check_out(photos / "cat.jpg", MARK)


@pytest.mark.parametrize(
    ("out", "message"), [("data", "is the folder"), ("data/model", "lies in"), (".", "holds"), ("x/../data", "is the")]
)
def test_what_is_read_is_not_written_to(tmp_path: Path, out: str, message: str) -> None:
    data = _filled(tmp_path / "data", MARK)
    _filled(tmp_path / "x", MARK)
    with pytest.raises(ValueError, match=message):
        check_out(tmp_path / out, MARK, data)


def test_a_link_to_what_is_read_is_seen_through(tmp_path: Path) -> None:
    data = _filled(tmp_path / "data", MARK)
    (tmp_path / "link").symlink_to(data, target_is_directory=True)
    with pytest.raises(ValueError, match="is the folder that is read"):
        check_out(tmp_path / "link", MARK, data)


def test_train_on_its_own_dataset_folder_deletes_nothing(write: Write, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is in the extra `train`")
    pytest.importorskip("lightgbm", reason="lightgbm is in the extra `train`")
    app, data, other = typer.Typer(), write(**world()), _filled(tmp_path / "photos", "cat.jpg")
    register(app)
    for out in (data, other):
        answer = CliRunner().invoke(app, ["train", "--dataset", str(data), "--out", str(out), "--steps", "1"])
        assert answer.exit_code == 1 and answer.stdout == ""
        assert len(answer.stderr.splitlines()) == 1 and f"error: {out}: is" in answer.stderr
    assert sorted(path.name for path in data.iterdir()) == ["interactions.parquet", "items.parquet"]
    assert (other / "cat.jpg").is_file()


def test_conversions_do_not_replace_what_they_read_nor_a_folder_of_something_else(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    pq.write_table(pa.table({"user_id": [1]}), source / "user_sequences.parquet")
    photos = _filled(tmp_path / "photos", "cat.jpg")
    for convert in (convert_kuairand, convert_archive):
        for out in (source, photos):
            with pytest.raises(ValueError, match=f"{out.name}: is"):
                convert(source, out)
    assert (source / "user_sequences.parquet").is_file() and (photos / "cat.jpg").is_file()
