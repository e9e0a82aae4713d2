"""Telling that a process of this machine is gone, so that nobody waits for a lease of a killed one to expire."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

_GONE_STATES = {"Z", "X"}


def process_mark() -> str:
    """Names this process: boot, pid namespace, pid and start time. Where there is no /proc, a random name."""
    try:
        return f"{_machine()}/{os.getpid()}/{_start(os.getpid())}"
    except (OSError, IndexError):
        return f"?/{uuid.uuid4().hex}"


def new_holder() -> str:
    """A name for one holder of leases in this process: `<process mark>#<random>`, at most 96 characters."""
    return f"{process_mark()}#{uuid.uuid4().hex[:12]}"


def is_gone(holder: str) -> bool:
    """True only when the process of `holder` certainly runs no more; false when it may, where this one can't see it."""
    parts = holder.partition("#")[0].split("/")
    if len(parts) != 4:
        return False
    try:
        if "/".join(parts[:2]) != _machine():
            return False
        return _start(int(parts[2])) != parts[3]
    except (FileNotFoundError, ProcessLookupError):
        return True
    except (OSError, ValueError, IndexError):
        return False


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"


def _start(pid: int) -> str:
    # The name in parentheses may hold spaces and parentheses: what follows the last one is regular.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return "gone" if fields[0] in _GONE_STATES else fields[19]
