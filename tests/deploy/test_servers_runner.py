"""What a person at the terminal sees of servers that start, fail and stop."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from deploy.servers import compose, process, runner
from deploy.servers.catalogue import ENGINES
from deploy.servers.engine import Server, ServerError, Unavailable
from deploy.servers.folder import Folder

UP = "import time; print('up', flush=True); time.sleep(600)"


class FakeEngine:
    """A process that prints, as an engine."""

    def __init__(self, name: str, program: str = UP, missing: str = "", within_s: float = 20) -> None:
        self.NAME = name
        self.VARIABLE = f"FAKE_{name.upper()}_URL"
        self.PORTS: Mapping[str, int] = {name: 24000}
        self.program, self.missing, self.within_s = program, missing, within_s
        self.prepared = 0

    def install(self, folder: Folder, say: Callable[[str], None]) -> None:
        if self.missing:
            raise Unavailable(self.missing)

    def prepare(self, folder: Folder) -> None:
        self.prepared += 1

    def servers(self, folder: Folder) -> list[Server]:
        place = folder.of(self.NAME)
        log = place / f"{self.NAME}.log"
        command = [sys.executable, "-c", self.program]
        return [Server(self.NAME, command, place, lambda: log.exists() and "up\n" in log.read_text(), self.within_s)]

    def settle(self, folder: Folder) -> None:
        pass

    def url(self, folder: Folder) -> str:
        return f"fake://127.0.0.1:{folder.port(self.NAME)}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.setenv("REELGRAPH_SERVERS_FROM", "packages")
    folder = Folder(tmp_path / "servers")
    yield folder
    runner.stop(folder, [FakeEngine(place.stem) for place in folder.root.glob("*/*.pid")])


def test_one_that_fails_shows_the_end_of_its_log_and_the_others_go_on(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = FakeEngine("broken", "raise SystemExit('no such flag')")
    assert runner.start(folder, [FakeEngine("good"), broken]) == 1
    said = capsys.readouterr().out
    assert "broken ended while starting" in said
    assert "    no such flag" in said
    assert folder.exported().keys() == {"FAKE_GOOD_URL"}
    assert runner.status(folder, [FakeEngine("good")]) == 0


def test_one_that_never_gets_ready_is_given_up_and_stopped(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    slow = FakeEngine("slow", "import time; print('loading', flush=True); time.sleep(600)", within_s=1)
    assert runner.start(folder, [slow]) == 1
    assert "was not ready within 1 s" in capsys.readouterr().out
    assert runner.status(folder, [slow]) == 1


def test_what_can_not_be_had_here_is_skipped_with_the_reason(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.start(folder, [FakeEngine("absent", missing="no Java here")]) == 0
    assert "skipped: no Java here" in capsys.readouterr().out
    assert folder.exported() == {}


def test_what_runs_is_left_as_it_is_by_a_second_start(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine("one")
    assert runner.start(folder, [engine]) == 0
    before = folder.of("one").joinpath("one.pid").read_text()
    assert runner.start(folder, [engine]) == 0
    assert folder.of("one").joinpath("one.pid").read_text() == before
    assert engine.prepared == 1
    assert "running" in capsys.readouterr().out


def test_stopping_takes_the_address_away(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    engine = FakeEngine("one")
    runner.start(folder, [engine])
    assert runner.stop(folder, [engine]) == 0
    assert folder.exported() == {}
    assert runner.status(folder, [engine]) == 1
    assert "stopped" in capsys.readouterr().out


def test_docker_compose_runs_what_its_file_names_and_is_told_ports_and_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path / "servers")
    folder.make()
    asked: list[list[str]] = []

    def docker(command: list[str], *, within_s: float) -> str:
        asked.append(command)
        return "redis\nkafka\nmeilisearch\n" if "--services" in command else ""

    monkeypatch.delenv("REELGRAPH_SERVERS_FROM", raising=False)
    monkeypatch.setattr(compose, "FILE", tmp_path)
    monkeypatch.setattr("deploy.servers.compose.shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("deploy.servers.compose.fetch.run", docker)
    redis, meilisearch = ENGINES["redis"], ENGINES["meilisearch"]
    found = compose.services(folder, [redis, ENGINES["s3"], meilisearch])
    assert found == [redis, meilisearch]
    compose.start(folder, found)
    assert any(command[-5:] == ["up", "--detach", "--wait", "redis", "meilisearch"] for command in asked)
    assert folder.exported() == {
        "REELGRAPH_TEST_REDIS_URL": redis.url(folder),
        "REELGRAPH_TEST_MEILISEARCH_URL": meilisearch.url(folder),
    }
    told = dict(line.split("=", 1) for line in (folder.root / "compose.env").read_text().splitlines())
    assert told["REELGRAPH_SECRET_REDIS"] == folder.secret("redis")
    assert told["REELGRAPH_SECRET_MEILISEARCH"] == folder.secret("meilisearch")
    assert {
        f"REELGRAPH_PORT_{name.upper().replace('-', '_')}"
        for name in json.loads((folder.root / "ports.json").read_text())
    } <= told.keys()


def test_without_docker_meilisearch_is_no_failure_and_says_how_to_name_one(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in (runner.start, runner.status):
        assert action(folder, [ENGINES["meilisearch"]]) == 0
        [line] = [line for line in capsys.readouterr().out.splitlines() if "meilisearch" in line]
        assert "skipped" in line and "REELGRAPH_TEST_MEILISEARCH_URL=meilisearch://:KEY@host:7700" in line
    assert folder.exported() == {}


def test_a_docker_that_does_not_answer_leaves_all_to_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def docker(command: list[str], *, within_s: float) -> str:
        raise ServerError("no daemon")

    monkeypatch.delenv("REELGRAPH_SERVERS_FROM", raising=False)
    monkeypatch.setattr(compose, "FILE", tmp_path)
    monkeypatch.setattr("deploy.servers.compose.shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("deploy.servers.compose.fetch.run", docker)
    assert compose.services(Folder(tmp_path), [ENGINES["redis"]]) == []


def test_of_several_nodes_only_the_dead_one_is_started_again(folder: Folder) -> None:
    class Pair(FakeEngine):
        def servers(self, folder: Folder) -> list[Server]:
            return [
                Server(name, [sys.executable, "-c", UP], folder.of(self.NAME), lambda: True) for name in ("one", "two")
            ]

    pair = Pair("pair")
    assert runner.start(folder, [pair]) == 0
    one, two = pair.servers(folder)
    kept, port = process.running(one), folder.port("pair")
    process.stop(two)
    assert runner.start(folder, [pair]) == 0
    assert process.running(one) == kept
    assert process.running(two) is not None
    assert folder.port("pair") == port
    runner.stop(folder, [pair])
