"""The archive in a folder: what only a folder has. The rest is in `tests/contract/test_event_archive.py`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from feed_svc.analytics.store import ArchivedEvent
from feed_svc.analytics.stores.parquet import open as open_archive
from svc_kit.errors import AppError, Reason

NOON_MS = 1_800_014_400_000  # 2027-01-15 12:00 UTC
DAY_MS = 86_400_000
FIRST, LAST = date(2027, 1, 1), date(2027, 1, 31)


def event(
    offset: int, *, partition: int = 0, topic: str = "watch", id_: int = 0, at_ms: int = NOON_MS
) -> ArchivedEvent:
    return ArchivedEvent(
        id=id_ or partition * 10_000 + offset + 1,
        topic=topic,
        partition=partition,
        offset=offset,
        type="watch_recorded",
        actor_id=7,
        entity=f"watch:7:{offset}",
        entity_version=1,
        occurred_at_ms=at_ms,
        request_id="r",
        body='{"user_id":"7"}',
        payload=b"\x00\xff",
    )


async def read(folder: Path, first: date = FIRST, last: date = LAST, topics: Sequence[str] = ()) -> list[ArchivedEvent]:
    archive = await open_archive(f"file://{folder}")
    return [found async for found in archive.read(first, last, topics)]


def files(folder: Path) -> list[Path]:
    """All files of an archive, by path."""
    return sorted(folder.rglob("*.parquet"))


def ids_in_files(folder: Path) -> list[int]:
    """Every id of every file, as anything that reads Parquet sees them."""
    return [id_ for path in files(folder) for id_ in pq.read_table(path, columns=["id"])["id"].to_pylist()]


async def test_a_draft_of_a_killed_process_is_not_read(tmp_path: Path) -> None:
    archive = await open_archive(f"file://{tmp_path}")
    await archive.put([event(0)])
    (path,) = files(tmp_path)
    path.with_suffix(".123.draft").write_bytes(b"half of it")
    assert len(await read(tmp_path)) == 1


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("a file where a folder should be")
    archive = await open_archive(f"file://{tmp_path}")
    for use in (archive.put([event(0)]), archive.check()):
        with pytest.raises(AppError) as failed:
            await use
        assert failed.value.reason is Reason.UNAVAILABLE
