"""`reelgraph promote`, `rollback` and `models`: what they print and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from launcher.cli import app
from rank_svc.scorers import wiring as scorers_wiring
from rank_svc.versions import wiring
from tests.rank.train.conftest import world
from tests.support.rank import write_base
from tests.support.versions import make_version, negated, with_nan, write_dataset


class Shell:
    """Commands over one data folder."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.base = folder, base
        self.log = write_dataset(folder / "log", **world())

    def __call__(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(app, [*map(str, arguments), "--data-dir", str(self.folder / "data")])

    def told(self, *arguments: str | Path) -> Any:
        answer = self(*arguments)
        return json.loads(answer.stdout) | {"exit": answer.exit_code}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    base_model = write_base(tmp_path / "base")
    for name in ("REELGRAPH_DB_URL", "REELGRAPH_RANK_DB_URL", "REELGRAPH_MODELS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REELGRAPH_RANK_PROMOTE_LEAST_USERS", "20")
    for module in (wiring, scorers_wiring):
        monkeypatch.setattr(module, "PACKAGED", base_model)
    return Shell(tmp_path, base_model)


def test_promote_compares_switches_and_tells_and_rollback_takes_it_back(shell: Shell) -> None:
    made = make_version(shell.folder / "made", shell.base, "next")

    promoted = shell.told("promote", made, "--dataset", shell.log)
    listed = shell.told("models")
    back = shell.told("rollback")

    assert (promoted["exit"], promoted["decision"], promoted["serving_before"]) == (0, "promoted", "base-1")
    assert promoted["metrics"]["recall@50"]["users"] >= 20
    assert (listed["serving"], listed["previous"]) == ("next", "base-1")
    assert {v["version"]: v["serves"] for v in listed["versions"]} == {"base-1": False, "next": True}
    assert (back["exit"], back["decision"], back["version"]) == (0, "rolled back", "base-1")


def test_a_worse_version_and_a_lack_of_data_have_exit_codes_of_their_own(shell: Shell) -> None:
    made = make_version(shell.folder / "made", shell.base, "worse", negated("user_tower"))

    worse = shell.told("promote", made, "--dataset", shell.log)
    unknown = shell.told("promote", "worse")
    forced = shell.told("promote", "worse", "--dataset", shell.log, "--force")

    assert (worse["exit"], worse["decision"]) == (3, "worse")
    assert (unknown["exit"], unknown["decision"]) == (4, "too little data")
    assert "there is no archive" in unknown["reason"]
    assert (forced["exit"], forced["decision"]) == (0, "forced")


def test_a_broken_version_is_one_line_and_exit_1(shell: Shell) -> None:
    made = make_version(shell.folder / "made", shell.base, "bad", with_nan("ranker"))

    answer = shell("promote", made, "--dataset", shell.log)

    assert answer.exit_code == 1
    assert "ranker/1/model.onnx: table_of_nothing has NaN among its weights" in answer.output
    assert not (shell.folder / "data" / "models").exists()


def test_a_dataset_that_is_named_and_broken_is_a_mistake(shell: Shell) -> None:
    made = make_version(shell.folder / "made", shell.base, "next")

    answer = shell("promote", made, "--dataset", shell.folder / "nowhere")

    assert answer.exit_code == 1 and "there is no such folder" in answer.output


def test_with_a_model_server_the_folder_that_its_url_names_is_written(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = shell.folder / "repository"
    monkeypatch.setenv("REELGRAPH_MODELS_URL", f"triton://127.0.0.1:1?repository={repository}")
    made = make_version(shell.folder / "made", shell.base, "next")

    promoted = shell.told("promote", made, "--dataset", shell.log)

    assert (promoted["exit"], (repository / "serving").read_text()) == (0, "next\n")
