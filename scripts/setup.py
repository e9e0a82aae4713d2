"""`make setup`: the environment .venv from requirements.lock, hashes checked, with the project in it.

A second run finds its stamp and does nothing. An environment that is there is added to, never removed.
"""

from __future__ import annotations

import hashlib
import sys
import time

from scripts.uvtool import (
    ROOT,
    VENV,
    VENV_PYTHON,
    ToolError,
    bootstrap_uv,
    exclusive,
    find_uv,
    uv,
    uv_pip_install,
)

_INPUTS = ("requirements.lock", "pyproject.toml", "hatch_build.py")
_STAMP = VENV / ".reelgraph-setup"


def fingerprint() -> str:
    """What the environment was made from."""
    digest = hashlib.sha256()
    for name in _INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def main() -> int:
    with exclusive("setup"):
        wanted = fingerprint()
        if _STAMP.exists() and _STAMP.read_text() == wanted and VENV_PYTHON.exists():
            return 0
        begun = time.monotonic()
        print("setup: making .venv from requirements.lock", flush=True)
        try:
            _install()
        except ToolError as error:
            print(f"setup: {error}", file=sys.stderr)
            return 1
        _STAMP.write_text(wanted)
        print(f"setup: done in {time.monotonic() - begun:.1f} s", flush=True)
    return 0


def _install() -> None:
    if find_uv() is None:
        bootstrap_uv()
    if not VENV_PYTHON.exists():
        uv("venv", "--quiet", "--python", sys.executable, str(VENV))
    # Compiled once here, or every start of every process compiles thousands of files where Python may not keep them.
    uv_pip_install("--compile-bytecode", "--require-hashes", "-r", "requirements.lock")
    # hatchling comes from the lock, so nothing unlocked is fetched to build the project.
    uv_pip_install("--no-deps", "--no-build-isolation", "-e", ".")


if __name__ == "__main__":
    raise SystemExit(main())
