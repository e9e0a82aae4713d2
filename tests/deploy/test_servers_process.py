"""Servers as processes: they outlive who starts them, are recognised again, and end when told."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.servers import process
from deploy.servers.engine import Server

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
PARENT = "import subprocess, sys, time; subprocess.Popen(['sleep', '601']); print('up', flush=True); time.sleep(600)"


def a_server(place: Path, program: str, name: str = "it") -> Server:
    log = place / f"{name}.log"
    return Server(name, [sys.executable, "-c", program], place, lambda: log.exists() and "up" in log.read_text())


def ended(pid: str) -> bool:
    """Whether it is gone within what a busy machine takes for a kill; a zombie is."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for pid_file in tmp_path.glob("*.pid"):
        with suppress(OSError):
            process.stop(a_server(tmp_path, "", pid_file.stem), grace_s=0)


def started(server: Server) -> int:
    process.spawn(server)
    deadline = time.monotonic() + 20
    while not server.ready() and time.monotonic() < deadline:
        time.sleep(0.01)
    pid = process.running(server)
    assert pid is not None
    return pid


def test_a_server_is_known_again_by_who_did_not_start_it(place: Path) -> None:
    server = a_server(place, "import time; print('up', flush=True); time.sleep(600)")
    pid = started(server)
    ask = f"""
from pathlib import Path
from deploy.servers import process
from deploy.servers.engine import Server
print(process.running(Server("it", [], Path({str(place)!r}), lambda: True)))
"""
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(pid)
    assert process.memory(server) > 1 << 20


def test_another_process_with_its_number_is_not_it_and_is_left_alone(place: Path) -> None:
    server = a_server(place, "")
    with subprocess.Popen(["sleep", "600"]) as other:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        server.pid_file.write_text(f"{other.pid} 1 {boot}")
        assert process.running(server) is None
        assert not process.stop(server)
        assert other.poll() is None
        other.kill()


def test_one_that_does_not_listen_is_made_to_end(place: Path) -> None:
    server = a_server(place, DEAF)
    started(server)
    assert process.stop(server, grace_s=0.2)
    assert process.running(server) is None
    assert not server.pid_file.exists()
    assert not process.stop(server)


def test_what_it_started_ends_with_it(place: Path) -> None:
    server = a_server(place, PARENT)
    pid = started(server)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    assert len(children) == 1
    process.stop(server)
    assert ended(children[0])


def test_a_server_sees_nothing_of_our_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1m")
    server = a_server(place, "import os, time; print(dict(os.environ), 'up', flush=True); time.sleep(600)")
    started(server)
    said = server.log.read_text()
    assert "JAVA_TOOL_OPTIONS" not in said
    assert f"'HOME': '{place}'" in said
