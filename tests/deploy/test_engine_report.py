"""`make test-servers` ends with a line an engine, whether one process ran the tests or two."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
from tests.support.engine_report import pytest_collection_modifyitems, pytest_unconfigure

def pytest_configure(config):
    for name in ("servers", "engine(name)", "xdist_group(name)"):
        config.addinivalue_line("markers", name)
"""
TESTS = """
import pytest
from tests.support.engines import server_url, servers

@pytest.mark.parametrize("engine", [*servers("redis", "kafka")])
def test_passes(engine): pass

@pytest.mark.parametrize("engine", [*servers("redis")])
def test_fails(engine): assert False

@pytest.mark.xfail(strict=True, reason="no order by activity")
@pytest.mark.parametrize("engine", [*servers("neo4j")])
def test_gap(engine): assert False

@pytest.fixture
def broken(): raise RuntimeError

@pytest.mark.parametrize("engine", [*servers("s3")])
def test_is_not_set_up(engine, broken): pass

@pytest.mark.parametrize("engine", [*servers("meilisearch")])
def test_searches(engine): server_url(engine)

@pytest.mark.servers
def test_of_none_in_particular(): pass

def test_without_servers(): pass
"""


ENGINES_BY_PROCESS = """
import os
import pytest
from tests.support.engines import servers

@pytest.mark.parametrize("engine", [*servers("redis", "kafka")])
@pytest.mark.parametrize("number", range(20))
def test_runs(engine, number):
    with open(os.environ["RAN"], "a") as file:
        file.write(f"{engine} {os.getpid()}\\n")
"""


def run(folder: Path, tests: str, *options: str, **variables: str) -> str:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(tests)
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("REELGRAPH_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, env=env | variables, capture_output=True, text=True).stdout


def closing_lines(folder: Path, *options: str) -> dict[str, str]:
    lines = run(folder, TESTS, *options).splitlines()
    last = max(n for n, line in enumerate(lines) if re.search(r" in \d+\.\d+s", line))
    return {line.split()[0]: line.partition(" ")[2].strip() for line in lines[last + 1 :]}


@pytest.mark.parametrize("options", [(), ("-n", "2", "--dist", "loadgroup")], ids=["one process", "two"])
def test_each_engine_has_its_line_with_reasons(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert closing_lines(tmp_path, *options) == {
        "postgres": "no tests",
        "mysql": "no tests",
        "neo4j": "1 xfailed (no order by activity)",
        "redis": "1 passed, 1 failed",
        "redis-cluster": "no tests",
        "cassandra": "no tests",
        "kafka": "1 passed",
        "s3": "1 error",
        "triton": "no tests",
        "meilisearch": "1 skipped (REELGRAPH_TEST_MEILISEARCH_URL names no server)",
        "other": "1 passed",
    }


def test_without_tests_of_engines_there_are_no_lines(tmp_path: Path) -> None:
    assert closing_lines(tmp_path, "-m", "not servers") == {}


def test_all_tests_of_an_engine_run_in_one_process(tmp_path: Path) -> None:
    run(tmp_path, ENGINES_BY_PROCESS, "-n", "2", "--dist", "loadgroup", RAN=str(tmp_path / "ran"))
    ran = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    assert len(ran) == 40
    assert len({(engine, process) for engine, process in ran}) == 2
