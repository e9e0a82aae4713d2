"""One folder of tantivy under several processes: all read, one writes at a time, none waits for a dead one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from feed_svc.search.store import Document, Kind, Put
from feed_svc.search.stores import tantivy, tantivy_generation
from feed_svc.search.stores.tantivy import TantivyIndex
from svc_kit.errors import AppError, Reason

Child = asyncio.subprocess.Process
Spawn = Callable[..., Awaitable[Child]]


def cats(*numbers: int) -> list[Put]:
    return [Put(Document((Kind.VIDEO, str(number)), 1, text="cats")) for number in numbers]


async def found(index: TantivyIndex) -> set[int]:
    return {int(hit.key[1]) for hit in await index.search("cats", [Kind.VIDEO], 500)}


def generations(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("v*")]


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    return tmp_path / "search"


@pytest.fixture
async def index(folder: Path) -> AsyncIterator[TantivyIndex]:
    opened = await tantivy.open(f"tantivy://{folder}")
    yield opened
    await opened.close()


@pytest.fixture
async def spawn(folder: Path) -> AsyncIterator[Spawn]:
    children: list[Child] = []

    async def start(*words: object) -> Child:
        command = [sys.executable, "-m", "tests.feed.search.index_child", str(folder), *map(str, words)]
        children.append(await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE))
        return children[-1]

    yield start
    for child in children:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def said(child: Child) -> str:
    assert child.stdout is not None
    async with asyncio.timeout(60):
        return (await child.stdout.readline()).decode().strip()


async def test_a_reader_sees_what_another_process_wrote_once_it_is_acknowledged(
    index: TantivyIndex, spawn: Spawn
) -> None:
    child = await spawn("write", 1, 3)

    for number in (1, 2, 3):
        assert await said(child) == str(number)
        assert set(range(1, number + 1)) <= await found(index)


async def test_processes_that_write_at_the_same_time_lose_nothing(index: TantivyIndex, spawn: Spawn) -> None:
    children = [await spawn("write", first, 10) for first in (100, 200)]
    for _ in range(5):
        await index.write(cats(*range(1, 6)))

    assert [await child.wait() for child in children] == [0, 0]
    assert await found(index) == {*range(1, 6), *range(100, 110), *range(200, 210)}


async def test_a_process_that_has_nothing_more_to_write_gives_the_lock_to_others(
    index: TantivyIndex, spawn: Spawn
) -> None:
    await index.write(cats(1))

    child = await spawn("write", 2, 1)

    assert await said(child) == "2"
    assert await found(index) == {1, 2}


async def test_while_another_process_keeps_the_lock_readers_read_and_when_it_is_killed_its_place_is_taken(
    index: TantivyIndex, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index.write(cats(1))
    child = await spawn("hold")
    assert await said(child) == "held"
    monkeypatch.setattr(tantivy_generation, "LOCK_WAIT_S", 0.1)

    with pytest.raises(AppError) as refused:
        await index.write(cats(2))
    seen = await found(index)
    child.kill()
    await child.wait()
    await index.write(cats(3))

    assert refused.value.reason is Reason.UNAVAILABLE and refused.value.retry_after_ms
    assert seen == {1}
    assert await found(index) == {1, 3}


async def test_a_process_killed_while_it_writes_leaves_an_index_that_can_be_written(
    index: TantivyIndex, spawn: Spawn
) -> None:
    child = await spawn("write", 1, 10_000)
    acknowledged = {int(await said(child)) for _ in range(3)}
    child.kill()
    await child.wait()

    await index.write(cats(20_000))

    assert acknowledged | {20_000} <= await found(index)


async def test_processes_that_open_an_empty_folder_together_make_one_index(folder: Path, spawn: Spawn) -> None:
    children = await asyncio.gather(*(spawn("open") for _ in range(4)))

    assert {await said(child) for child in children} == {"v1-000001"}
    assert generations(folder) == ["v1-000001"]


async def test_a_rebuild_keeps_other_processes_from_writing_past_it(
    index: TantivyIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await tantivy.open(f"tantivy://{folder}")
    monkeypatch.setattr(tantivy_generation, "LOCK_WAIT_S", 0.1)
    async with index.rebuild() as fresh:
        await fresh.write(cats(1))
        with pytest.raises(AppError) as refused:
            await other.write(cats(2))
        with pytest.raises(AppError):
            async with other.rebuild():
                pass
    monkeypatch.undo()

    await other.write(cats(3))

    assert refused.value.reason is Reason.UNAVAILABLE
    assert await found(index) == await found(other) == {1, 3}
    await other.close()


async def test_what_a_killed_rebuild_left_is_removed_by_the_next(index: TantivyIndex, folder: Path) -> None:
    (folder / "v1-000007").mkdir()

    async with index.rebuild() as fresh:
        await fresh.write(cats(1))

    assert generations(folder) == [(folder / "current").read_text()]


async def test_an_index_of_a_newer_program_is_not_touched(index: TantivyIndex, folder: Path) -> None:
    (folder / "current").write_text("v99-000001")

    with pytest.raises(AppError, match="newer version"):
        await index.check()

    assert (folder / "current").read_text() == "v99-000001"
