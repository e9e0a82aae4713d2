"""Where programs come from: Debian's packages, Maven's jars, Go's sources, PyPI's wheels. Everything but Debian's
packages goes into the folder, caches included; a stamp says what is there, so that a second start asks nobody."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.servers.engine import ServerError, Unavailable
from deploy.servers.folder import Folder

HERE = Path(__file__).resolve().parent
Say = Callable[[str], None]

# One of each at a time: they share a cache or a lock, and two builds at once only take turns on two cores.
_APT, _MAVEN, _GO = threading.Lock(), threading.Lock(), threading.Lock()


def apt(program: str, package: str, say: Say) -> None:
    """Have `program`, from Debian's package where it is missing."""
    with _APT:
        if find_program(program):
            return
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise Unavailable(f"{program} is not installed (Debian: apt-get install {package})")
        say(f"fetching {package} (apt)")
        command = ["apt-get", "-o", "DPkg::Lock::Timeout=600", "-qq"]
        install = [*command, "install", "-y", "--no-install-recommends", package]
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        try:
            run(install, env=env, within_s=300)
        except ServerError:
            run([*command, "update"], env=env, within_s=120)
            run(install, env=env, within_s=300)


def find_program(name: str) -> str | None:
    """On PATH, or where Debian puts what is not for everybody."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin")))
    if found:
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    return str(versions[-1]) if versions else None


def run(
    command: Sequence[str],
    *,
    within_s: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    given: str | None = None,
) -> str:
    """Run to the end; what it said. Raises `ServerError` with the end of that where it fails or takes too long."""
    process = subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        text=True,
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    name = Path(command[0]).name
    try:
        said, _ = process.communicate(given, timeout=within_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        said, _ = process.communicate()
        raise ServerError(f"{name} was not done within {within_s:g} s\n{_end(said)}") from None
    if process.returncode:
        raise ServerError(f"{name} failed with exit status {process.returncode}\n{_end(said)}")
    return said


def _end(said: str) -> str:
    return "\n".join(said.splitlines()[-20:])


def jars(folder: Folder, engine: str, coordinates: Sequence[str], say: Say) -> Path:
    """A folder with these Maven artifacts and all they need."""
    pom = HERE / "maven" / engine / "pom.xml"
    lib = folder.of(engine) / "lib"
    stamp = lib / ".complete"
    wanted = " ".join(coordinates)
    if stamp.exists() and stamp.read_text() == wanted:
        return lib
    maven = shutil.which("mvn")
    with _MAVEN:
        if maven is None:
            apt("mvn", "maven", say)
            maven = "mvn"
        say(f"fetching {coordinates[0]} (Maven)")
        shutil.rmtree(lib, ignore_errors=True)
        pom = folder.of(engine) / "pom.xml"
        pom.write_text(_pom(engine, coordinates))
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        settings = (f"-Dmaven.repo.local={folder.root / 'cache' / 'maven'}", "-DincludeScope=runtime")
        command = [maven, "-B", "-q", "-C", "-f", str(pom), plugin, f"-DoutputDirectory={lib}", *settings]
        run(command, within_s=240, cwd=folder.of(engine))
    stamp.write_text(wanted)
    return lib


def _pom(engine: str, coordinates: Sequence[str]) -> str:
    dependency = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>reelgraph.servers</groupId><artifactId>{engine}</artifactId><version>1</version>"
        "<packaging>pom</packaging><dependencies>"
        + "".join(dependency.format(*each.split(":")) for each in coordinates)
        + "</dependencies></project>\n"
    )


def java(oldest: int, newest: int = 99) -> tuple[str, int]:
    """The program and its version: the newest JDK found within the bounds."""
    homes = [os.environ.get("JAVA_HOME", ""), *map(str, Path("/usr/lib/jvm").glob("*")), *map(str, Path("/opt").glob("j*"))]
    if on_path := shutil.which("java"):
        homes.append(str(Path(on_path).resolve().parent.parent))
    found = {}
    for home in filter(None, homes):
        version = _java_version(Path(home))
        if version and oldest <= version <= newest:
            found[version] = str(Path(home) / "bin" / "java")
    if not found:
        raise Unavailable(f"no Java of version {oldest} to {newest} is installed")
    return found[max(found)], max(found)


def _java_version(home: Path) -> int | None:
    try:
        lines = (home / "release").read_text().splitlines()
    except OSError:
        return None
    named = next((line for line in lines if line.startswith("JAVA_VERSION=")), "")
    major = named.partition('"')[2].partition(".")[0].rstrip('"')
    return int(major) if major.isdigit() and (home / "bin" / "java").exists() else None


def go(folder: Folder, name: str, package: str, version: str, say: Say) -> Path:
    """A program built from Go's sources, pinned with all it needs by the go.sum beside its go.mod here."""
    module = HERE / "go" / name
    program = folder.root / "bin" / name
    stamp = folder.root / "bin" / f".{name}"
    wanted = f"{package}@{version} {hashlib.sha256((module / 'go.sum').read_bytes()).hexdigest()}"
    if program.exists() and stamp.exists() and stamp.read_text() == wanted:
        return program
    go_program = shutil.which("go")
    if go_program is None:
        raise Unavailable("Go is not installed")
    with _GO:
        say(f"building {name} {version} (Go)")
        cache = folder.root / "cache" / "go"
        env = os.environ | {"GOMODCACHE": str(cache / "mod"), "GOCACHE": str(cache / "build"), "CGO_ENABLED": "0"}
        # `-modcacherw`: or nobody but root could remove the folder again.
        flags = ("-trimpath", "-modcacherw", "-mod=readonly", "-ldflags=-s -w")
        run([go_program, "build", *flags, "-o", str(program), package], within_s=420, env=env, cwd=module)
    stamp.write_text(wanted)
    return program


def wheels(folder: Folder, engine: str, lock: Path, say: Say) -> Path:
    """A virtual environment of the engine's own with exactly what `lock` lists, hashes checked."""
    from scripts.uvtool import find_uv, uv_environment

    venv = folder.of(engine) / "venv"
    stamp = venv / ".complete"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return venv
    uv = find_uv()
    if uv is None:
        raise ServerError("uv is missing: run `make setup` first")
    say("fetching wheels (PyPI)")
    env = uv_environment() | {"UV_CACHE_DIR": str(folder.root / "cache" / "uv")}
    run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)], within_s=60, env=env)
    install = ("pip", "install", "--quiet", "--no-deps", "--require-hashes", "--python", str(venv / "bin" / "python"))
    run([uv, *install, "-r", str(lock)], within_s=300, env=env)
    stamp.write_text(wanted)
    return venv
