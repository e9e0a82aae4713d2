"""Folders that exist whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_or_not(out: Path) -> Iterator[Path]:
    """A folder to fill that takes the name `out` when the block ends well and is removed when it does not.

    A former `out` is replaced, and lost only once the new one is whole. Raises OSError.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh, former = (out.with_name(f".{out.name}.{kind}.{os.getpid()}") for kind in ("new", "old"))
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        for path in sorted(fresh.rglob("*")):
            if path.is_file():
                _sync(path)
        if out.exists():
            out.rename(former)
        fresh.rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
