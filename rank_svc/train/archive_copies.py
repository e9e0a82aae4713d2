"""The archive, wherever it is kept, as a folder to read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from svc_kit.backends import resolve

COPIED = {"s3": "svc_kit.s3.mirror"}
"""Schemes of archives that are copied first -> the module whose `mirror(url, prefix, folder)` does."""
_FOLDER = "file://"


@contextmanager
def archive_folder(where: str) -> Iterator[Path]:
    """The archive at a path, a `file://` or another URL as a folder, which may be a copy that is gone afterwards.

    Raises `UnknownScheme`, `EngineUnusable` and `AppError` UNAVAILABLE."""
    if "://" not in where:
        yield Path(where)
    elif where.startswith(_FOLDER):
        yield Path(unquote(urlsplit(where).path))
    else:
        with tempfile.TemporaryDirectory(prefix="reelgraph-archive-") as folder:
            resolve("--archive", where, COPIED).mirror(where, "events/", Path(folder))
            yield Path(folder)
