"""What the three servers that run on Java have in common: Java itself, their jars, their bounds."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.servers import fetch
from deploy.servers.engine import ServerError, Unavailable
from deploy.servers.folder import Folder

LOCKS = fetch.HERE / "maven"
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_PACKAGE = "openjdk-17-jre-headless"
# Two at once would write into one cache, which Maven does not guard.
_MAVEN = threading.Lock()


def find(oldest: int, newest: int = 99) -> tuple[str, int]:
    """The program and its version: the newest Java here within the bounds. Raises `Unavailable`."""
    found = {version: str(home / "bin" / "java") for home in homes() if (version := _version(home))}
    usable = [version for version in found if oldest <= version <= newest]
    if not usable:
        raise Unavailable(f"no Java of version {oldest} to {newest} here (Debian: apt-get install {_PACKAGE})")
    return found[max(usable)], max(usable)


def homes() -> list[Path]:
    """Where a JDK may be."""
    on_path = shutil.which("java")
    named = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    here = [Path(on_path).resolve().parent.parent] if on_path else []
    return [*named, *here, *Path("/usr/lib/jvm").glob("*"), *Path("/opt").glob("*")]


def _version(home: Path) -> int | None:
    try:
        lines = (home / "release").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    named = next((line for line in lines if line.startswith("JAVA_VERSION=")), "")
    major = named.partition('"')[2].partition(".")[0].rstrip('"')
    return int(major) if major.isdigit() and (home / "bin" / "java").exists() else None


def install(oldest: int, newest: int, say: Callable[[str], None]) -> None:
    """Have a Java within the bounds."""
    try:
        find(oldest, newest)
    except Unavailable:
        fetch.apt(_PACKAGE, say)
        find(oldest, newest)


def jars(folder: Folder, engine: str, coordinates: Sequence[str], say: Callable[[str], None]) -> None:
    """Fill the engine's `lib` with these Maven artifacts and all they need: exactly the files whose digests are
    listed in `maven/ENGINE-VERSION.sha256`."""
    place = folder.of(engine)
    lock = LOCKS / f"{engine}-{coordinates[0].rpartition(':')[2]}.sha256"
    lib, stamp, wanted = place / "lib", place / "lib" / ".complete", lock.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if shutil.which("mvn") is None:
        fetch.apt("maven", say)
    with _MAVEN, fetch.cache(folder, "maven") as repository:
        say(f"fetching {coordinates[0]} (Maven)")
        shutil.rmtree(lib, ignore_errors=True)
        pom = place / "pom.xml"
        pom.write_text(project(engine, coordinates))
        settings = (f"-Dmaven.repo.local={repository}", f"-DoutputDirectory={lib}", "-DincludeScope=runtime")
        command = ["mvn", "-B", "-q", "--strict-checksums", "-f", str(pom), _COPY, *settings]
        fetch.run(command, within_s=300, cwd=place)
    if differing := differences(wanted, digests(lib)):
        shutil.rmtree(lib)
        raise ServerError(f"not the jars that {lock.name} lists: {', '.join(differing)}")
    stamp.write_text(wanted)


def project(engine: str, coordinates: Sequence[str]) -> str:
    """A pom that needs exactly these."""
    dependency = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>reelgraph.servers</groupId><artifactId>{engine}</artifactId><version>1</version>"
        "<packaging>pom</packaging><dependencies>"
        + "".join(dependency.format(*each.split(":")) for each in coordinates)
        + "</dependencies></project>\n"
    )


def digests(lib: Path) -> str:
    """The jars of a folder as `sha256sum` lists them."""
    return "".join(f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in sorted(lib.glob("*.jar")))


def differences(wanted: str, found: str) -> list[str]:
    """The names of files that only one of two listings has, or with another digest."""
    return sorted({line.partition("  ")[2] for line in {*wanted.splitlines()} ^ {*found.splitlines()}})


def flags(place: Path, *, heap_mib: int, direct_mib: int, metaspace_mib: int, code_mib: int) -> list[str]:
    """Every part of a Java process's memory has its bound; nothing is written outside of `place`."""
    return [
        f"-Xms{heap_mib // 2}m",
        f"-Xmx{heap_mib}m",
        f"-XX:MaxDirectMemorySize={direct_mib}m",
        f"-XX:MaxMetaspaceSize={metaspace_mib}m",
        f"-XX:ReservedCodeCacheSize={code_mib}m",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        f"-XX:ErrorFile={place}/hs_err.log",
        f"-Djava.io.tmpdir={place}/tmp",
        f"-Duser.home={place}",
    ]
