"""`make wheels`: both distributions, each built with locked tools. `python -m scripts.wheels OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.gen import build_stubs
from scripts.uvtool import VENV_PYTHON, ToolError, uv


def build_all(out: Path) -> None:
    """Write wheel and sdist of reelgraph-stubs and reelgraph into `out`, replacing older ones there."""
    for stale in (*out.glob("reelgraph*.whl"), *out.glob("reelgraph*.tar.gz")):
        stale.unlink()
    build_stubs(out, "--wheel", "--sdist")
    locked = ("--build-constraints", "requirements.lock", "--require-hashes")
    uv("build", "--quiet", "--python", str(VENV_PYTHON), "--wheel", "--sdist", *locked, "-o", str(out), ".")


def main() -> int:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    try:
        build_all(out)
    except ToolError as error:
        print(f"wheels: {error}", file=sys.stderr)
        return 1
    for built in sorted(out.glob("reelgraph*")):
        print(f"{built}  {built.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
