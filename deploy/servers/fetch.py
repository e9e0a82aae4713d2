"""Where programs come from: Debian's packages, Go's sources, PyPI's wheels (jars: see `jvm.py`). All but Debian's
packages goes into the folder, caches included; a stamp says what is there, so that a second start asks nobody."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from deploy.servers.engine import ServerError, Unavailable
from deploy.servers.folder import Folder

HERE = Path(__file__).resolve().parent
Say = Callable[[str], None]
# One at a time: the one keeps a lock of its own, and two builds at once would only take turns on two cores.
_APT, _GO = threading.Lock(), threading.Lock()
_RUNNING: set[int] = set()


def program(name: str, package: str, say: Say) -> None:
    """Have this program, from Debian's package where it is missing."""
    if find_program(name) is None:
        apt(package, say)


def apt(package: str, say: Say) -> None:
    """Install a package of Debian's, where we may. Raises `Unavailable`."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable(f"needs Debian's {package}: sudo apt-get install {package}")
    with _APT:
        say(f"fetching {package} (apt)")
        command = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-qq"]
        install = [*command, "install", "-y", "--no-install-recommends", package]
        # What is installed must not start a server of its own as well.
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        try:
            run(install, env=env, within_s=300)
        except ServerError:
            run([*command, "update"], env=env, within_s=120)
            run(install, env=env, within_s=300)


def find_program(name: str) -> str | None:
    """On PATH, or where Debian puts what is not for everybody."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(versions, key=lambda found: float(found.parts[4]), default=None)
    return shutil.which(name, path=path) or (str(newest) if newest else None)


def need(name: str) -> str:
    """The path of a program that a package must have brought. Raises `Unavailable`."""
    found = find_program(name)
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


def run(
    command: Sequence[str],
    *,
    within_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    given: str = "",
) -> str:
    """Run to the end with `given` as its input; what it said. Raises `ServerError` with the end of that where it fails
    or takes too long."""
    process = subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    name = Path(command[0]).name
    _RUNNING.add(process.pid)
    try:
        said, _ = process.communicate(given, timeout=within_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        raise ServerError(f"{name} was not done within {within_s:g} s\n{_end(said)}") from None
    finally:
        _RUNNING.discard(process.pid)
    if process.returncode:
        raise ServerError(f"{name} failed with exit status {process.returncode}\n{_end(said)}")
    return said


def abort() -> None:
    """End what is being run, with all that it started."""
    for pid in tuple(_RUNNING):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _end(said: str) -> str:
    return "\n".join(said.splitlines()[-20:])


@contextlib.contextmanager
def cache(folder: Folder, tool: str) -> Iterator[Path]:
    """The tool's cache, which nobody throws away meanwhile."""
    place = folder.root / "cache" / tool
    with (folder.root / ".cache.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        place.mkdir(parents=True, exist_ok=True)
        yield place


def drop_caches(folder: Folder) -> None:
    """Give back the gigabyte that building took, unless somebody builds."""
    with (folder.root / ".cache.lock").open("w") as lock, contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder.root / "cache", ignore_errors=True)


def go(folder: Folder, name: str, package: str, version: str, say: Say) -> None:
    """A program into `bin`, built from Go's sources: they and all they need are pinned by `go/NAME/go.sum`."""
    module = HERE / "go" / name
    binary, stamp = folder.root / "bin" / name, folder.root / "bin" / f".{name}"
    wanted = f"{package} {version} {hashlib.sha256((module / 'go.sum').read_bytes()).hexdigest()}"
    if binary.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    with _GO, cache(folder, "go") as place:
        say(f"building {name} {version} (Go)")
        env = os.environ | {"GOMODCACHE": str(place / "mod"), "GOCACHE": str(place / "build"), "CGO_ENABLED": "0"}
        # `-modcacherw`: or only root could remove the folder again.
        flags = ("-trimpath", "-modcacherw", "-mod=readonly", "-ldflags=-s -w")
        # Ten servers start beside it: they go first.
        command = ["nice", "-n", "5", need("go"), "build", *flags, "-o", str(binary), package]
        run(command, within_s=600, env=env, cwd=module)
    stamp.write_text(wanted)


def wheels(folder: Folder, engine: str, lock: Path, say: Say) -> Path:
    """A virtual environment of the engine's own with exactly what `lock` lists, digests checked."""
    from scripts.uvtool import find_uv, uv_environment

    venv = folder.of(engine) / "venv"
    stamp, wanted = venv / ".complete", lock.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return venv
    uv = find_uv()
    if uv is None:
        raise ServerError("uv is missing: run `make setup` first")
    with cache(folder, "uv") as place:
        say("fetching wheels (PyPI)")
        env = uv_environment() | {"UV_CACHE_DIR": str(place)}
        run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)], within_s=60, env=env)
        install = ("pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(lock))
        run([uv, *install, "--python", str(venv / "bin" / "python")], within_s=300, env=env)
    stamp.write_text(wanted)
    return venv
