"""The commands: what they print and what they say when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from launcher.ranking_cli import register
from tests.rank.train.conftest import Write, world

pytest.importorskip("scipy", reason="scipy is in the extra `train`")


@pytest.fixture
def run() -> CliRunner:
    return CliRunner()


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    register(made)
    return made


def _truth(folder: Path) -> Path:
    path = folder / "truth.parquet"
    pq.write_table(pa.table({"user_id": [0, 1], "item_id": [2, 3]}), path)
    return path


def test_baselines_are_measured_without_a_model(run: CliRunner, app: typer.Typer, write: Write, tmp_path: Path) -> None:
    command = [
        "eval",
        "--dataset",
        str(write(**world())),
        "--truth",
        str(_truth(tmp_path)),
        "--baselines",
        "--k",
        "5,10",
    ]
    answer = run.invoke(app, command)
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert set(found["baselines"]["EASE"]) >= {"recall@5", "ndcg@10", "coverage@5", "gini@5", "novelty@5"}


@pytest.mark.parametrize("k", ["0", "a", "5,-1", ""])
def test_lengths_that_make_no_sense_are_refused(
    run: CliRunner, app: typer.Typer, write: Write, tmp_path: Path, k: str
) -> None:
    command = ["eval", "--dataset", str(write(**world())), "--truth", str(_truth(tmp_path)), "--baselines", "--k", k]
    answer = run.invoke(app, command)
    assert answer.exit_code == 1
    assert "must be whole numbers from 1" in answer.output


def test_a_broken_dataset_is_one_line_and_exit_1(run: CliRunner, app: typer.Typer, tmp_path: Path) -> None:
    command = ["eval", "--dataset", str(tmp_path / "none"), "--truth", str(_truth(tmp_path)), "--baselines"]
    answer = run.invoke(app, command)
    assert answer.exit_code == 1
    assert "there is no such folder" in answer.output


def test_a_folder_that_is_no_version_is_refused(run: CliRunner, app: typer.Typer, write: Write, tmp_path: Path) -> None:
    command = ["eval", "--model", str(tmp_path), "--dataset", str(write(**world())), "--truth", str(_truth(tmp_path))]
    answer = run.invoke(app, command)
    assert answer.exit_code == 1
    assert "version.json: there is no such file" in answer.output


def test_train_names_an_unknown_option(run: CliRunner, app: typer.Typer, write: Write, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is in the extra `train`")
    command = ["train", "--dataset", str(write(**world())), "--out", str(tmp_path / "m"), "--option", "depth=3"]
    answer = run.invoke(app, command)
    assert answer.exit_code == 1
    assert "there is no option depth" in answer.output


@pytest.mark.parametrize("assignment", ["width=3", "rate=x"])
def test_train_names_a_wrong_option_in_one_line(
    run: CliRunner, app: typer.Typer, write: Write, tmp_path: Path, assignment: str
) -> None:
    pytest.importorskip("torch", reason="torch is in the extra `train`")
    command = ["train", "--dataset", str(write(**world())), "--out", str(tmp_path / "m"), "--option", assignment]
    answer = run.invoke(app, command)
    assert answer.exit_code == 1
    assert len(answer.stderr.splitlines()) == 1 and f"--option {assignment}: " in answer.stderr


@pytest.mark.parametrize("error", [MemoryError(), MemoryError("8 TiB"), RuntimeError("can't allocate memory: 8 TiB")])
def test_too_little_memory_is_one_line(
    run: CliRunner, app: typer.Typer, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def ask(*_: object) -> None:
        raise error

    monkeypatch.setattr("rank_svc.train.dataset.load", ask)
    answer = run.invoke(app, ["eval", "--dataset", str(tmp_path), "--truth", str(_truth(tmp_path)), "--baselines"])
    assert answer.exit_code == 1 and answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1 and "error: there is too little memory" in answer.stderr


def test_eval_prints_nothing_but_json(
    run: CliRunner, app: typer.Typer, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def talk(*_: object, **__: object) -> dict[str, int]:
        print("a library says something")
        return {"users": 2}

    monkeypatch.setattr("rank_svc.train.evaluate.evaluate", talk)
    data = write(**world())
    answer = run.invoke(app, ["eval", "--dataset", str(data), "--truth", str(_truth(tmp_path)), "--baselines"])
    assert json.loads(answer.stdout) == {"users": 2}
    assert "a library says something" in answer.stderr
