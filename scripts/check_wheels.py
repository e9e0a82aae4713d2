"""Installs each distribution of a folder into an empty environment and uses it from outside the checkout.

`python -m scripts.check_wheels dist`. What only works because the checkout is at hand fails here: a forgotten
dependency, an unpacked data file, stubs that need the services.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from scripts.uvtool import VENV_PYTHON, ToolError, uv

START_S = 90
STOP_S = 20
_ALLOWED_WITH_STUBS = {"reelgraph-stubs", "grpcio", "protobuf", "typing-extensions"}

_USE_STUBS = """
import importlib, importlib.metadata, pathlib, reelgraph
root = pathlib.Path(next(iter(reelgraph.__path__)))
names = sorted(path.relative_to(root.parent).with_suffix("") for path in root.rglob("*_pb2*.py"))
for name in names:
    importlib.import_module(".".join(name.parts))
installed = {dist.name.lower().replace("_", "-") for dist in importlib.metadata.distributions()}
print(len(names), *sorted(installed))
"""

_USE_PACKAGES = """
import importlib, importlib.resources
for name in ("svc_kit", "graph_svc", "media_svc", "rank_svc", "feed_svc", "gateway", "launcher"):
    importlib.import_module(name)
carried = {"rank_svc": ["models/base"], "gateway": ["explorer/dist/index.html", "schema.graphql"]}
for package, data in ((package, data) for package, names in carried.items() for data in names):
    found = importlib.resources.files(package).joinpath(data)
    assert found.is_dir() or found.is_file(), f"{package}/{data} is not in the wheel"
"""


def main() -> int:
    dist = Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    try:
        with tempfile.TemporaryDirectory(prefix="reelgraph-wheels-") as folder:
            check_stubs(dist, Path(folder))
            check_main(dist, Path(folder))
    except ToolError as error:
        print(f"check_wheels: {error}", file=sys.stderr)
        return 1
    return 0


def check_stubs(dist: Path, folder: Path) -> None:
    """The stubs alone: every module imports with grpcio and protobuf, and nothing else came with them."""
    python = _environment(folder / "stubs", str(_wheel(dist, "reelgraph_stubs-*.whl")))
    modules, *installed = _outside(folder, [str(python), "-c", _USE_STUBS]).split()
    if extra := set(installed) - _ALLOWED_WITH_STUBS:
        raise ToolError(f"reelgraph-stubs brings more than its clients need: {sorted(extra)}")
    print(f"reelgraph-stubs: {modules} modules import alone")


def check_main(dist: Path, folder: Path) -> None:
    """The main wheel with its dependencies: packages, data files, the command line, a server that starts."""
    wheel = str(_wheel(dist, "reelgraph-[0-9]*.whl"))
    python = _environment(folder / "main", "--find-links", str(dist), wheel)
    _outside(folder, [str(python), "-c", _USE_PACKAGES])
    command = str(python.parent / "reelgraph")
    _outside(folder, [command, "--help"])
    print("reelgraph: packages, data files and --help work")
    print(f"reelgraph: {_serve(folder, command)}, stopped cleanly")


def _wheel(dist: Path, pattern: str) -> Path:
    found = list(dist.glob(pattern))
    if len(found) != 1:
        raise ToolError(f"expected one {pattern} in {dist}, found {len(found)}: run `make wheels`")
    return found[0]


def _environment(where: Path, *requirements: str) -> Path:
    python = where / "bin" / "python"
    uv("venv", "--quiet", "--python", str(VENV_PYTHON), str(where))
    uv("pip", "install", "--quiet", "--python", str(python), *requirements)
    return python


def _clean_env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "REELGRAPH_"))}


def _outside(folder: Path, command: list[str]) -> str:
    done = subprocess.run(command, cwd=folder, env=_clean_env(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"outside the checkout, {command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _serve(folder: Path, command: str) -> str:
    """Start the whole platform from the wheel on free ports; return its `ready` line once it has stopped."""
    ports = ["--http-port", "0", "--grpc-port", "0"]
    log = folder / "serve.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [command, "serve", "all", "--data-dir", str(folder / "data"), *ports],
            cwd=folder,
            env=_clean_env(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as server,
    ):
        watchdog = threading.Timer(START_S, server.kill)
        watchdog.start()
        assert server.stdout is not None
        ready = next((line.strip() for line in server.stdout if line.startswith("ready http")), None)
        watchdog.cancel()
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            raise ToolError(f"reelgraph serve did not stop within {STOP_S} s of SIGINT") from None
    if ready is None:
        raise ToolError(f"reelgraph serve all printed no ready line in {START_S} s:\n{log.read_text()[-4000:]}")
    return ready


if __name__ == "__main__":
    raise SystemExit(main())
