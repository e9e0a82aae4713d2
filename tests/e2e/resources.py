"""What processes use: memory, and new connections of the whole machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class Resources:
    """Of some processes, by the kernel's own numbers."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = list(pids)

    def rss_mib(self) -> int:
        """Resident memory of those that live."""
        return sum(_rss_kib(pid) for pid in self._pids) // 1024

    def connects(self) -> int:
        """TCP connections that were begun on this machine since it started."""
        names, values = (line.split() for line in _tcp_lines())
        return int(values[names.index("ActiveOpens")])


def _rss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def _tcp_lines() -> list[str]:
    return [line for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Tcp:")]
