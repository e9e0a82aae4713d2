"""`reelgraph backup` and `restore` of the embedded data, while it runs.

Databases are copied by SQLite's online backup, each consistent in itself. Blobs are immutable and only ever added or
removed a day after their last reference, so copying them after the databases finds every one that the copy names.
The bus is copied first: an event that is in a database's outbox but not yet in the copied log is published again.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from svc_kit.ids import DirectoryLock
from svc_kit.settings import PlatformSettings

FORMAT = 1
MANIFEST = "reelgraph-backup.json"
DATABASES = ("bus", "feed", "rank", "media", "graph")
FOLDERS = ("blobs",)
_ON_SERVERS = ("db_url", *(f"{name}_db_url" for name in DATABASES[1:]), "bus_url", "blobs_url", "wide_url", "graph_url")
"""Settings that put truth, or what a restored truth must agree with, elsewhere."""
KEYS = ("secret.key", "service_token.key")


async def back_up(settings: PlatformSettings, target: Path) -> None:
    """Copy the embedded data into `target`, which must be absent or empty; readable once its manifest is there. Raises
    ValueError when there is none, or when a part of the data lies on a server and would be missing."""
    elsewhere = [f"REELGRAPH_{name.upper()}" for name in _ON_SERVERS if getattr(settings, name)]
    if elsewhere:
        raise ValueError(
            f"{', '.join(elsewhere)}: this backup is of embedded data alone; back the servers up by their own tools"
        )
    source = settings.data_dir.resolve()
    if not (source / "graph.db").exists():
        raise ValueError(f"{source} holds no Reelgraph data")
    await asyncio.to_thread(_copy_out, source, target)


def _copy_out(source: Path, target: Path) -> None:
    _require_empty(target)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in DATABASES:
        if (source / f"{name}.db").exists():
            _copy_database(source / f"{name}.db", target / f"{name}.db")
    for name in FOLDERS:
        if (source / name).exists():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True, ignore=_vanishing)
    for name in KEYS:
        if (source / name).exists():
            shutil.copy2(source / name, target / name)
    manifest = {"format": FORMAT, "made_at": datetime.now(UTC).isoformat(), "databases": DATABASES}
    (target / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _require_empty(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty")


def _vanishing(_folder: str, names: list[str]) -> list[str]:
    """Files on their way in: not named by any database yet."""
    return [name for name in names if name.endswith((".tmp", ".part"))]


def _copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source, timeout=30)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)
        (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        raise ValueError(f"the copy of {source.name} is damaged: {verdict}")


async def put_back(settings: PlatformSettings, source: Path) -> None:
    """Put the backup `source` into the data folder, which must be absent or empty and not in use."""
    manifest = source / MANIFEST
    if not manifest.exists():
        raise ValueError(f"{source} is not a finished backup: {MANIFEST} is missing")
    made = json.loads(manifest.read_text())
    if made.get("format") != FORMAT:
        raise ValueError(f"{source} has format {made.get('format')}; this version reads {FORMAT}")
    target = settings.data_dir.resolve()
    _require_empty(target)
    with DirectoryLock(target):
        await asyncio.to_thread(shutil.copytree, source, target, dirs_exist_ok=True)
        (target / MANIFEST).unlink()
