"""`make gen`: what is built, not written: the stubs from proto/ and the base model repository.

Each part keeps a stamp of its inputs, so an unchanged one costs a hash. The stubs go through the very wheel
that is published: what the services import is what clients install.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from scripts.uvtool import ROOT, VENV, VENV_PYTHON, ToolError, exclusive, run, uv, uv_pip_install

STUBS_WHEELS = ROOT / "build" / "stubs"
BASE_MODEL = ROOT / "rank_svc" / "models" / "base"


def fingerprint(paths: Iterable[Path]) -> str:
    """A digest over names and contents, so that a renamed or removed file counts as a change."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def generate_stubs() -> None:
    """Build the stubs' wheel with its locked toolchain and install it into .venv."""
    shutil.rmtree(STUBS_WHEELS, ignore_errors=True)
    build_stubs(STUBS_WHEELS)
    wheel = next(STUBS_WHEELS.glob("*.whl"))
    uv_pip_install("--no-deps", "--reinstall", str(wheel))


def build_stubs(out: Path, *kinds: str) -> None:
    """Write the stubs' distributions into `out`: `--wheel` unless told otherwise."""
    locked = ("--python", str(VENV_PYTHON), "--build-constraints", "stubs/build.lock", "--require-hashes")
    uv("build", "--quiet", *locked, *(kinds or ("--wheel",)), "-o", str(out), "stubs")


def generate_base_model() -> None:
    """Write the version that ranks until a model is trained; a half-written one is never seen."""
    BASE_MODEL.parent.mkdir(parents=True, exist_ok=True)
    fresh = BASE_MODEL.parent / ".base.new"
    shutil.rmtree(fresh, ignore_errors=True)
    run([str(VENV_PYTHON), "-m", "rank_svc.scorers.base_model", str(fresh)])
    shutil.rmtree(BASE_MODEL, ignore_errors=True)
    fresh.rename(BASE_MODEL)


def _stub_inputs() -> list[Path]:
    fixed = [ROOT / "stubs" / name for name in ("pyproject.toml", "hatch_build.py", "build.lock", "README.md")]
    return [*(ROOT / "proto").rglob("*.proto"), *fixed]


def _model_inputs() -> list[Path]:
    return [*(ROOT / "rank_svc" / "scorers").glob("*.py"), ROOT / "rank_svc" / "features" / "history.py"]


def _installed_stubs() -> bool:
    return any(VENV.glob("lib/python*/site-packages/reelgraph_stubs-*.dist-info"))


def _step(name: str, inputs: list[Path], present: bool, build: Callable[[], None]) -> None:
    stamp = VENV / f".reelgraph-{name}"
    wanted = fingerprint(inputs)
    if present and stamp.exists() and stamp.read_text() == wanted:
        return
    begun = time.monotonic()
    stamp.unlink(missing_ok=True)
    build()
    stamp.write_text(wanted)
    print(f"gen: {name} in {time.monotonic() - begun:.1f} s", flush=True)


def main() -> int:
    with exclusive("gen"):
        try:
            if list((ROOT / "proto").rglob("*.proto")):
                _step("stubs", _stub_inputs(), _installed_stubs(), generate_stubs)
            if (ROOT / "rank_svc" / "scorers" / "base_model.py").exists():
                _step("base-model", _model_inputs(), BASE_MODEL.is_dir(), generate_base_model)
        except ToolError as error:
            print(f"gen: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
