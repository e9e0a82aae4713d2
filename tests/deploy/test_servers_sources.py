"""Where the servers come from: pinned, checked, and bounded in time."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest

from deploy.servers import cassandra, fetch, jvm, kafka, neo4j, s3, toxiproxy, triton
from deploy.servers.engine import ServerError
from deploy.servers.folder import Folder


@pytest.mark.parametrize(
    ("engine", "artifact"),
    [("cassandra", cassandra.JARS[0]), ("kafka", kafka.JARS[0]), *(("neo4j", a) for a in neo4j.ARTIFACTS.values())],
)
def test_every_jar_is_listed_with_its_digest(engine: str, artifact: str) -> None:
    _, name, version = artifact.split(":")
    listed = (jvm.LOCKS / f"{engine}-{version}.sha256").read_text()
    assert f"  {name}-{version}.jar\n" in listed
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+\.jar", line) for line in listed.splitlines())


def test_a_jar_too_many_too_few_or_changed_is_named(tmp_path: Path) -> None:
    for name in ("kept", "changed", "gone"):
        (tmp_path / f"{name}.jar").write_text(name)
    wanted = jvm.digests(tmp_path)
    assert jvm.differences(wanted, jvm.digests(tmp_path)) == []
    (tmp_path / "changed.jar").write_text("other")
    (tmp_path / "gone.jar").unlink()
    (tmp_path / "new.jar").write_text("new")
    assert jvm.differences(wanted, jvm.digests(tmp_path)) == ["changed.jar", "gone.jar", "new.jar"]


@pytest.mark.parametrize("module", [s3, toxiproxy])
def test_every_go_program_is_pinned_by_its_sums(module: object) -> None:
    package, version = str(vars(module)["PACKAGE"]), str(vars(module)["VERSION"])
    owner = package.partition("/cmd/")[0]
    folder = fetch.HERE / "go" / {"s3": "versitygw"}.get(vars(module)["NAME"], vars(module)["NAME"])
    assert f"{owner} {version} h1:" in (folder / "go.sum").read_text()
    assert f"{owner} {version}" in (folder / "go.mod").read_text()


def test_the_wheels_are_those_asked_for_with_digests_and_no_index() -> None:
    lock = triton.LOCK.read_text()
    asked = [line for line in triton.LOCK.with_suffix(".in").read_text().splitlines() if not line.startswith("#")]
    assert re.findall(r"^(\S+==\S+)", lock, re.MULTILINE) == sorted(asked)
    assert "://" not in lock
    assert lock.count("--hash=sha256:") >= len(asked)


def test_no_pinned_source_names_a_host_of_a_registry() -> None:
    for path in fetch.HERE.rglob("*"):
        if path.suffix in {".py", ".lock", ".in", ".sha256"}:
            assert "https://" not in path.read_text(), path


def test_a_command_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    program = f"import subprocess, time; p = subprocess.Popen(['sleep', '602']); open({str(tmp_path / 'pid')!r}, 'w')"
    program += ".write(str(p.pid)); print('so far', flush=True); time.sleep(602)"
    with pytest.raises(ServerError, match=r"not done within 3 s\nso far"):
        fetch.run([sys.executable, "-c", program], within_s=3)
    child = Path("/proc") / (tmp_path / "pid").read_text()
    deadline = time.monotonic() + 10
    while child.exists() and " Z " not in (child / "stat").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not child.exists() or " Z " in (child / "stat").read_text()


def test_a_command_that_fails_says_how_it_ended() -> None:
    with pytest.raises(ServerError, match=r"exit status 3\nlast words"):
        fetch.run([sys.executable, "-c", "print('last words'); raise SystemExit(3)"], within_s=20)


def test_caches_in_use_are_not_dropped(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.make()
    with fetch.cache(folder, "go") as place:
        (place / "x").touch()
        fetch.drop_caches(folder)
        assert (place / "x").exists()
    fetch.drop_caches(folder)
    assert not place.exists()


def test_java_is_chosen_by_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for home, version in (("a", "17.0.2"), ("b", "25"), ("c", "1.8.0_392")):
        (tmp_path / home / "bin").mkdir(parents=True)
        (tmp_path / home / "bin" / "java").touch()
        (tmp_path / home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    monkeypatch.setattr(jvm, "homes", lambda: [tmp_path / name for name in "abc"])
    assert jvm.find(17) == (str(tmp_path / "b" / "bin" / "java"), 25)
    assert jvm.find(11, 17) == (str(tmp_path / "a" / "bin" / "java"), 17)
    with pytest.raises(ServerError, match="no Java of version 18 to 21"):
        jvm.find(18, 21)
