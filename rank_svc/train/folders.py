"""Folders that exist whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_out(out: Path, mark: str, *sources: Path) -> None:
    """Raise ValueError unless `out` may be replaced: it is not there, empty, or a folder of the kind that has a file
    `mark`; and it neither is, holds nor lies in one of `sources`. To be asked before any work."""
    place = out.resolve()
    for source in (given.resolve() for given in sources):
        if place == source:
            raise ValueError(f"{out}: is the folder that is read; name another one to write")
        if place.is_relative_to(source):
            raise ValueError(f"{out}: lies in {source}, which is read; name a folder outside of it")
        if source.is_relative_to(place):
            raise ValueError(f"{out}: holds {source}, which is read; name another folder to write")
    if place.exists() and not place.is_dir():
        raise ValueError(f"{out}: is a file; name a folder to write")
    if place.is_dir() and any(place.iterdir()) and not (place / mark).is_file():
        raise ValueError(f"{out}: is not empty and has no {mark}, so it is not replaced; name another folder to write")


@contextmanager
def whole_or_not(out: Path) -> Iterator[Path]:
    """A folder to fill that takes the name `out` when the block ends well and is removed when it does not.

    A former `out` is replaced, and lost only once the new one is whole: see `check_out`. Raises OSError.
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
