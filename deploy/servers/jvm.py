"""What the three servers that run on Java have in common."""

from __future__ import annotations

from pathlib import Path


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
        "-Xss512k",
        f"-XX:ErrorFile={place}/hs_err.log",
        f"-Djava.io.tmpdir={place}/tmp",
        f"-Duser.home={place}",
        "-Dfile.encoding=UTF-8",
    ]
