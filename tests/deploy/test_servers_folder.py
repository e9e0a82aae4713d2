"""The folder of the servers: what is drawn once stays, what is secret is its owner's, what is taken is left alone."""

from __future__ import annotations

import socket
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.servers.folder import Folder, is_free


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "servers")
    folder.make()
    return folder


def test_a_password_is_drawn_once_and_read_by_its_owner_alone(folder: Folder) -> None:
    drawn = folder.secret("redis")
    assert Folder(folder.root).secret("redis") == drawn
    assert folder.secret("kafka") != drawn
    assert drawn.isalnum()
    assert stat.S_IMODE((folder.root / "secrets.json").stat().st_mode) == 0o600


def test_threads_that_ask_at_once_get_the_same_password(folder: Folder) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: folder.secret("redis"), range(64)))) == 1


def test_a_port_that_is_taken_is_left_alone_and_the_choice_is_remembered(folder: Folder) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert not is_free(taken)
        folder.choose_ports({"a": taken, "b": taken})
        chosen = folder.port("a"), folder.port("b")
    assert taken not in chosen
    assert chosen[0] != chosen[1]
    again = Folder(folder.root)
    again.choose_ports({"a": taken, "b": taken})
    assert (again.port("a"), again.port("b")) == chosen


def test_two_engines_that_want_one_port_get_two(folder: Folder) -> None:
    folder.choose_ports({"a": 25431})
    folder.choose_ports({"b": folder.port("a")})
    assert folder.port("a") != folder.port("b")


def test_ports_are_known_once_all_are_chosen(folder: Folder) -> None:
    assert not folder.has_ports(["a"])
    folder.choose_ports({"a": 25431})
    assert folder.has_ports(["a"])
    assert not folder.has_ports(["a", "b"])


def test_a_shell_that_sources_env_has_what_runs_and_not_what_was_stopped(folder: Folder) -> None:
    folder.export({"ONE": "redis://:pw@127.0.0.1:1/0", "TWO": "s3://a:b@127.0.0.1:2/x?secure=false&y=1"})
    folder.export({"ONE": "", "THREE": "x"})
    env = folder.root / "env"
    shell = ["bash", "-c", f'source "{env}"; echo "${{ONE-none}} $TWO $THREE"']
    said = subprocess.run(shell, capture_output=True, text=True, check=True, env={}).stdout
    assert said.split() == ["none", "s3://a:b@127.0.0.1:2/x?secure=false&y=1", "x"]
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
