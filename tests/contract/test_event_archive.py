"""What every adapter of the event archive does: exact whatever is put again."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from feed_svc.analytics.store import Archive, ArchivedEvent
from feed_svc.analytics.stores import ARCHIVE_SCHEMES, ARCHIVE_SETTING, archive_url
from rank_svc.train.archive_copies import archive_folder
from svc_kit.backends import UnknownScheme, resolve
from svc_kit.settings import PlatformSettings
from tests.support.blobs import blob_url
from tests.support.engines import servers

NOON_MS = 1_800_014_400_000  # 2027-01-15 12:00 UTC
DAY_MS = 86_400_000
FIRST, LAST = date(2027, 1, 1), date(2027, 1, 31)


@dataclass
class Place:
    """An archive, and its files as anything that reads Parquet sees them."""

    url: str
    archive: Archive

    async def read(self, first: date = FIRST, last: date = LAST, topics: Sequence[str] = ()) -> list[ArchivedEvent]:
        return [found async for found in self.archive.read(first, last, topics)]

    async def files(self) -> dict[str, list[int]]:
        """Path below the archive -> the ids in it, by path."""
        return await asyncio.to_thread(self._files)

    def _files(self) -> dict[str, list[int]]:
        with archive_folder(self.url) as folder:
            paths = sorted(folder.rglob("*.parquet"))
            return {str(path.relative_to(folder)): _ids(path.read_bytes()) for path in paths}

    async def ids(self) -> list[int]:
        """Every id of every file."""
        return sorted(id_ for ids in (await self.files()).values() for id_ in ids)


def _ids(data: bytes) -> list[int]:
    found: list[int] = pq.read_table(io.BytesIO(data), columns=["id"])["id"].to_pylist()
    return found


@pytest.fixture(params=["file", *servers("s3")])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with blob_url(request.param, tmp_path) as url:
        archive = await resolve(ARCHIVE_SETTING, url, ARCHIVE_SCHEMES).open(url)
        yield Place(url, archive)
        await archive.close()


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


async def test_what_was_put_is_read_column_for_column_by_day_topic_and_offset(place: Place) -> None:
    await place.archive.check()
    events = [event(1), event(0), event(5, topic="follow"), event(6, at_ms=NOON_MS + DAY_MS)]
    assert await place.archive.put(events) == 4
    assert await place.read() == [events[2], events[1], events[0], events[3]]
    names = list(await place.files())
    assert names[0].startswith("events/date=2027-01-15/topic=follow/part-0000-")


async def test_days_and_topics_are_read_alone(place: Place) -> None:
    await place.archive.put([event(0), event(1, topic="follow"), event(2, at_ms=NOON_MS + DAY_MS)])
    assert [found.offset for found in await place.read(date(2027, 1, 16), date(2027, 1, 16))] == [2]
    assert [found.offset for found in await place.read(topics=["follow"])] == [1]
    assert await place.read(date(2026, 12, 1), date(2026, 12, 5)) == []


async def test_batches_cut_anywhere_and_put_again_add_nothing_twice(place: Place) -> None:
    log = [event(o, partition=p, at_ms=NOON_MS + (o % 3) * DAY_MS) for o in range(60) for p in (0, 1)]
    rng = random.Random(5)
    for _ in range(3):
        start = 0
        while start < len(log):
            end = start + rng.randint(10, 60)
            await place.archive.put(log[start:end])
            start = end if rng.random() < 0.8 else max(0, start - rng.randint(0, 30)) if rng.random() < 0.3 else end
    assert await place.ids() == sorted(found.id for found in log)
    assert await place.archive.put(log) == 0


async def test_a_crash_between_two_files_is_completed_by_the_repetition(place: Place) -> None:
    first_day, second_day = [event(o) for o in range(5)], [event(o, at_ms=NOON_MS + DAY_MS) for o in range(5, 9)]
    await place.archive.put(first_day)
    assert await place.archive.put([*first_day, *second_day]) == 4
    assert await place.ids() == list(range(1, 10))


async def test_a_bus_made_anew_counts_from_zero_again_and_nothing_is_lost(place: Place) -> None:
    await place.archive.put([event(o) for o in range(4)])
    assert await place.archive.put([event(o, id_=500 + o) for o in range(4)]) == 4
    assert len(await place.read()) == 8


async def test_an_event_published_twice_is_read_once(place: Place) -> None:
    await place.archive.put([event(0, id_=9), event(1, id_=9)])
    await place.archive.put([event(50, id_=9), event(51)])
    assert [found.id for found in await place.read()] == [9, 52]


def test_the_archive_lies_with_the_blobs_unless_it_has_a_place_of_its_own(tmp_path: Path) -> None:
    settings = PlatformSettings(data_dir=tmp_path, blobs_url="s3://bucket?region=x")
    assert archive_url("", settings) == "s3://bucket?region=x"
    assert archive_url("file:///own", settings) == "file:///own"
    assert archive_url("", PlatformSettings(data_dir=tmp_path)) == f"file://{tmp_path.resolve()}/archive"


def test_a_trainer_is_told_which_archives_it_can_read() -> None:
    with pytest.raises(UnknownScheme, match="s3"), archive_folder("ftp://somewhere"):
        pass
