"""The archive's files: exact whatever is put again."""

from __future__ import annotations

import random
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


async def test_what_was_put_is_read_column_for_column_by_day_topic_and_offset(tmp_path: Path) -> None:
    archive = await open_archive(f"file://{tmp_path}")
    await archive.check()
    events = [event(1), event(0), event(5, topic="follow"), event(6, at_ms=NOON_MS + DAY_MS)]
    assert await archive.put(events) == 4
    assert await read(tmp_path) == [events[2], events[1], events[0], events[3]]
    names = [str(path.relative_to(tmp_path)) for path in files(tmp_path)]
    assert names[0].startswith("events/date=2027-01-15/topic=follow/part-0000-")


async def test_days_and_topics_are_read_alone(tmp_path: Path) -> None:
    archive = await open_archive(f"file://{tmp_path}")
    await archive.put([event(0), event(1, topic="follow"), event(2, at_ms=NOON_MS + DAY_MS)])
    assert [found.offset for found in await read(tmp_path, date(2027, 1, 16), date(2027, 1, 16))] == [2]
    assert [found.offset for found in await read(tmp_path, topics=["follow"])] == [1]
    assert await read(tmp_path, date(2026, 1, 1), date(2026, 1, 31)) == []


async def test_batches_cut_anywhere_and_put_again_add_nothing_twice(tmp_path: Path) -> None:
    log = [event(o, partition=p, at_ms=NOON_MS + (o % 3) * DAY_MS) for o in range(60) for p in (0, 1)]
    archive = await open_archive(f"file://{tmp_path}")
    rng = random.Random(5)
    for _ in range(6):
        start = 0
        while start < len(log):
            end = start + rng.randint(1, 50)
            await archive.put(log[start:end])
            start = end if rng.random() < 0.7 else max(0, start - rng.randint(0, 30)) if rng.random() < 0.2 else end
    assert sorted(ids_in_files(tmp_path)) == sorted(found.id for found in log)
    assert await archive.put(log) == 0


async def test_a_crash_between_two_files_is_completed_by_the_repetition(tmp_path: Path) -> None:
    archive = await open_archive(f"file://{tmp_path}")
    first_day, second_day = [event(o) for o in range(5)], [event(o, at_ms=NOON_MS + DAY_MS) for o in range(5, 9)]
    await archive.put(first_day)
    assert await archive.put([*first_day, *second_day]) == 4
    assert sorted(ids_in_files(tmp_path)) == list(range(1, 10))


async def test_a_bus_made_anew_counts_from_zero_again_and_nothing_is_lost(tmp_path: Path) -> None:
    archive = await open_archive(f"file://{tmp_path}")
    await archive.put([event(o) for o in range(4)])
    assert await archive.put([event(o, id_=500 + o) for o in range(4)]) == 4
    assert len(await read(tmp_path)) == 8


async def test_an_event_published_twice_is_read_once(tmp_path: Path) -> None:
    archive = await open_archive(f"file://{tmp_path}")
    await archive.put([event(0, id_=9), event(1, id_=9)])
    await archive.put([event(50, id_=9), event(51)])
    assert [found.id for found in await read(tmp_path)] == [9, 52]


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
