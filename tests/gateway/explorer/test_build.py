"""The build of the pages: when it is needed, and which node it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.build_web import BuildError, base_env, build, find_node, inputs_hash, is_current, run


@pytest.fixture
def web(tmp_path: Path) -> Path:
    for name in ("src/main.ts", "package.json", "node_modules/left/index.js", "dist/index.html"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "dist/.stamp").write_text(inputs_hash(tmp_path))
    return tmp_path


def fake_node(folder: Path, version: str) -> str:
    for name, text in (("node", f"echo v{version}"), ("npm", "exit 1")):
        script = folder / name
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
    return str(folder)


def test_pages_made_of_the_present_inputs_are_not_built_again(web: Path) -> None:
    (web / "node_modules/left/index.js").write_text("installed packages are no input; the lock file is")

    assert "up to date" in build(web)


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename", "unbuilt"])
def test_any_change_of_the_inputs_asks_for_a_build(web: Path, change: str) -> None:
    if change == "edit":
        (web / "src/main.ts").write_text("another")
    elif change == "add":
        (web / "src/more.ts").write_text("")
    elif change == "remove":
        (web / "src/main.ts").unlink()
    elif change == "rename":
        (web / "src/main.ts").rename(web / "src/other.ts")
    else:
        (web / "dist/index.html").unlink()

    assert not is_current(web, inputs_hash(web))


@pytest.mark.parametrize(
    ("version", "usable"), [("20.19.0", True), ("20.18.3", False), ("18.20.0", False), ("24.1.0", True)]
)
def test_a_node_too_old_for_the_bundler_is_passed_over(tmp_path: Path, version: str, usable: bool) -> None:
    found = find_node(fake_node(tmp_path, version), base_env())

    assert (found is not None) is usable


def test_a_failed_step_tells_its_command_and_its_output(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"(?s)sh -c .*failed \(3\).*why it failed"):
        run(["sh", "-c", "echo why it failed; exit 3"], tmp_path, base_env())
