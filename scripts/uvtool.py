"""uv for the scripts of this folder: found or bootstrapped, and given pip's settings, which it ignores.

Standard library only: it runs before there is an environment.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
_OLDEST_UV = (0, 5)
_FROM_PIP = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}


class ToolError(Exception):
    """What went wrong in words for the person at the terminal."""


@contextlib.contextmanager
def exclusive(name: str) -> Iterator[None]:
    """One process at a time in this checkout: two `make` at once must not install into each other."""
    folder = ROOT / "build"
    folder.mkdir(exist_ok=True)
    with (folder / f".{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def uv_environment() -> dict[str, str]:
    """The process environment with pip's index and certificate under uv's names; what is set for uv wins."""
    env = dict(os.environ)
    env.setdefault("UV_SYSTEM_CERTS", "1")
    env.setdefault("UV_HTTP_TIMEOUT", "120")
    for key, value in _pip_settings().items():
        separator = "," if key == "find-links" else " "
        env.setdefault(_FROM_PIP[key], separator.join(value.split()))
    # The address of this environment is always given; a shell's active one must not win.
    env.pop("VIRTUAL_ENV", None)
    return env


def _pip_settings() -> dict[str, str]:
    """pip's own view of its files and PIP_ variables; later lines override earlier ones, as pip's do."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    found: dict[str, str] = {}
    for line in listed.stdout.splitlines() if listed.returncode == 0 else ():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in _FROM_PIP:
            found[key] = str(ast.literal_eval(value))
    # A pip that is not installed can't be asked, but its variables may be set all the same.
    for key in _FROM_PIP:
        if given := os.environ.get("PIP_" + key.upper().replace("-", "_")):
            found[key] = given
    return found


def find_uv() -> str | None:
    """A usable uv: on PATH, or the one that `bootstrap_uv` put into the environment."""
    for candidate in (shutil.which("uv"), str(VENV / "bin" / "uv")):
        if candidate is None or not os.access(candidate, os.X_OK):
            continue
        shown = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False).stdout
        if (match := re.search(r"(\d+)\.(\d+)", shown)) and (int(match[1]), int(match[2])) >= _OLDEST_UV:
            return candidate
    return None


def bootstrap_uv() -> str:
    """Make .venv with the standard library and install uv from pip's index into it."""
    try:
        run([sys.executable, "-m", "venv", str(VENV)])
        run([str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "uv"])
    except ToolError as error:
        raise ToolError(
            f"{error}\nneither uv nor Python's venv is usable: install one (Debian: python3-venv)"
        ) from error
    return str(VENV / "bin" / "uv")


def run(command: Sequence[str], env: dict[str, str] | None = None) -> None:
    """Run `command` in the checkout; its output goes to the terminal."""
    done = subprocess.run(command, cwd=ROOT, env=env, check=False)
    if done.returncode:
        raise ToolError(f"failed with exit status {done.returncode}: {' '.join(command)}")


def uv(*arguments: str) -> None:
    """Run uv with pip's settings passed on."""
    command = find_uv()
    if command is None:
        raise ToolError("uv is missing: run `make setup` first")
    run([command, *arguments], env=uv_environment())


def uv_pip_install(*arguments: str) -> None:
    """Install into .venv and nowhere else."""
    uv("pip", "install", "--quiet", "--python", str(VENV_PYTHON), *arguments)
