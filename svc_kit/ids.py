"""64-bit ids that grow with time: 41 bits of milliseconds since 2026-01-01, 10 of worker, 12 of sequence."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from svc_kit.clock import Clock, now_ms, to_ms
from svc_kit.errors import unavailable

EPOCH_MS = to_ms(datetime(2026, 1, 1, tzinfo=UTC))
MAX_WORKER = 1023
MAX_SEQUENCE = 4095
MAX_SKEW_MS = 1000
SPREAD = 1024
"""A millisecond's first sequence is the one after the last, modulo this: were it always 0, all ids issued alone in
their millisecond would fall into one bucket of `svc_kit.cache.bucket`, and so on one server of a cluster."""


class IdGenerator:
    """Issues ids of one worker. Stops (UNAVAILABLE) when the clock went back more than a second: smaller steps are
    waited out by sequence."""

    def __init__(self, clock: Clock, worker: int = 0) -> None:
        if not 0 <= worker <= MAX_WORKER:
            raise ValueError(f"worker must be 0 to {MAX_WORKER}, not {worker}")
        self._clock = clock
        self._worker = worker
        self._last_ms = 0
        self._sequence = 0

    def next(self) -> int:
        """A new id, greater than all before from this generator."""
        now = now_ms(self._clock) - EPOCH_MS
        if now < self._last_ms - MAX_SKEW_MS:
            raise unavailable("The clock went back; no ids are issued until it has caught up.")
        if now > self._last_ms:
            self._last_ms, self._sequence = now, (self._sequence + 1) % SPREAD
        elif self._sequence < MAX_SEQUENCE:
            self._sequence += 1
        else:
            self._last_ms, self._sequence = self._last_ms + 1, 0
        return self._last_ms << 22 | self._worker << 12 | self._sequence


def created_ms(id_: int) -> int:
    """When an id was issued, in milliseconds since 1970-01-01 UTC."""
    return (id_ >> 22) + EPOCH_MS


def least_id(at_ms: int) -> int:
    """All ids issued at this time or later, in milliseconds since 1970-01-01 UTC, are at least this one."""
    return max(0, at_ms - EPOCH_MS) << 22


class DirectoryLock:
    """Holds a data folder for one process: the embedded worker number is 0, and two of them would issue the same
    ids."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._file: int | None = None

    def __enter__(self) -> DirectoryLock:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise unavailable(f"Another process is using {self._path.parent}.") from None
        self._file = handle
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
