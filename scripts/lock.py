"""`make lock`: resolve again what set-up installs. The locks name no registry: any mirror serves them."""

from __future__ import annotations

import sys
import tempfile
import tomllib
from pathlib import Path

from scripts.uvtool import ROOT, ToolError, uv

_NEUTRAL = ("--quiet", "--universal", "--generate-hashes", "--no-emit-index-url", "--no-header", "--upgrade")
# Left out: gigabytes that only training needs, and that a CPU machine gets from another place.
_NOT_LOCKED = {"train"}


def lock_environment() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    oldest = project["project"]["requires-python"].removeprefix(">=")
    extras = sorted(set(project["project"]["optional-dependencies"]) - _NOT_LOCKED)
    chosen = [argument for extra in extras for argument in ("--extra", extra)]
    without_ours = ("--no-emit-package", "reelgraph-stubs")
    target = ("-p", oldest, "-o", "requirements.lock")
    uv("pip", "compile", "pyproject.toml", "--group", "dev", *chosen, *_NEUTRAL, *without_ours, *target)


def lock_stubs_toolchain() -> None:
    stubs = tomllib.loads((ROOT / "stubs/pyproject.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "build.in"
        wanted.write_text("\n".join(stubs["build-system"]["requires"]) + "\n", encoding="utf-8")
        target = ("-p", "3.11", "--no-annotate", "-o", "stubs/build.lock")
        uv("pip", "compile", str(wanted), *_NEUTRAL, *target)


def main() -> int:
    try:
        lock_environment()
        lock_stubs_toolchain()
    except ToolError as error:
        print(f"lock: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
