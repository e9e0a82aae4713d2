"""What every adapter of the blob store does: blobs, and parts that the server itself puts. What clients put by signed
URLs is in `test_blob_parts.py`."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from media_svc.blobs.store import BlobStore, NoSuchBlob, NoSuchParts, WrongDigest, WrongLength
from media_svc.blobs.stores import SCHEMES
from svc_kit.backends import UnknownScheme, resolve
from svc_kit.clock import SystemClock, now_ms
from tests.support.blobs import BlobBench, blob_bench
from tests.support.engines import servers

MANY = 1005
"""More than a page of any listing."""


@pytest.fixture(params=["file", *servers("s3")])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobBench]:
    async with blob_bench(request.param, tmp_path) as bench:
        yield bench


@pytest.fixture
async def store(bench: BlobBench) -> BlobStore:
    return await bench.open()


async def _chunks(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def _all(store: BlobStore, key: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([block async for block in store.read(key, start, length)])


async def _at_once(calls: Iterable[Callable[[], Awaitable[object]]], most: int = 16) -> None:
    limit = asyncio.Semaphore(most)

    async def run(call: Callable[[], Awaitable[object]]) -> None:
        async with limit:
            await call()

    await asyncio.gather(*(run(call) for call in calls))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_parts_in_any_order_become_one_blob(store: BlobStore) -> None:
    size = max(3000, store.least_part_bytes)
    parts = [os.urandom(size), os.urandom(size + 1), os.urandom(10)]
    handle = await store.begin_parts("originals/1", with_digests=True)
    assert len(handle) <= 200
    for number in (3, 1, 2):
        data = parts[number - 1]
        assert await store.put_part(handle, number, _chunks(data), len(data), _sha256(data)) == _sha256(data)
    assert [(p.number, p.size_bytes) for p in await store.list_parts(handle)] == [(1, size), (2, size + 1), (3, 10)]
    stat = await store.join_parts(handle, "originals/1", 3)
    assert (stat.key, stat.size_bytes) == ("originals/1", 2 * size + 11)
    assert await _all(store, "originals/1") == b"".join(parts)
    assert await store.list_parts(handle) == []
    assert await store.join_parts(handle, "originals/1", 3) == stat
    assert await store.stat("originals/1") == stat


async def test_joined_by_two_at_once_it_is_one_blob(bench: BlobBench, store: BlobStore) -> None:
    handle = await store.begin_parts("k")
    await store.put_part(handle, 1, _chunks(b"one"), 3)
    await store.put_part(handle, 2, _chunks(b"more than asked for"), 19)
    other = await bench.open()
    first, second = await asyncio.gather(store.join_parts(handle, "k", 1), other.join_parts(handle, "k", 1))
    assert (first.size_bytes, second.size_bytes) == (3, 3)
    assert await _all(store, "k") == b"one"
    assert await store.list_parts(handle) == []


async def test_a_part_again_replaces_it_and_of_two_at_once_one_wins_whole(store: BlobStore) -> None:
    handle = await store.begin_parts("k")
    versions = [bytes([value]) * 600_000 for value in range(4)]
    await asyncio.gather(*(store.put_part(handle, 1, _chunks(v, 50_000), len(v)) for v in versions))
    await store.put_part(handle, 1, _chunks(versions[2]), len(versions[2]))
    await store.join_parts(handle, "k", 1)
    assert await _all(store, "k") == versions[2]


@pytest.mark.parametrize("announced", [99, 101])
async def test_a_part_of_another_length_is_not_kept(store: BlobStore, announced: int) -> None:
    handle = await store.begin_parts("k")
    with pytest.raises(WrongLength):
        await store.put_part(handle, 1, _chunks(b"x" * 100), announced)
    assert await store.list_parts(handle) == []


async def test_a_part_of_another_digest_and_one_that_breaks_off_are_not_kept(store: BlobStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 50
        raise ConnectionError

    handle = await store.begin_parts("k", with_digests=True)
    await store.put_part(handle, 1, _chunks(b"good"), 4, _sha256(b"good"))
    with pytest.raises(WrongDigest):
        await store.put_part(handle, 1, _chunks(b"evil"), 4, _sha256(b"good"))
    with pytest.raises(ConnectionError):
        await store.put_part(handle, 2, broken(), 100, _sha256(b"x" * 100))
    assert [p.number for p in await store.list_parts(handle)] == [1]
    await store.join_parts(handle, "k", 1)
    assert await _all(store, "k") == b"good"


async def test_a_missing_part_an_unknown_handle_and_a_dropped_one_are_refused(store: BlobStore) -> None:
    handle = await store.begin_parts("k")
    await store.put_part(handle, 2, _chunks(b"two"), 3)
    with pytest.raises(NoSuchParts):
        await store.join_parts(handle, "k", 2)
    assert [p.number for p in await store.list_parts(handle)] == [2]
    await store.drop_parts(handle)
    await store.drop_parts(handle)
    for wrong in (handle, "../../etc", "nothing", "../../etc:1", "k:" + "0" * 36):
        with pytest.raises(NoSuchParts):
            await store.put_part(wrong, 1, _chunks(b"x"), 1)
        with pytest.raises(NoSuchParts):
            await store.join_parts(wrong, "k", 1)
        assert await store.list_parts(wrong) == []
    assert await store.stat("k") is None


async def test_parts_are_there_after_the_process_ended(bench: BlobBench) -> None:
    before = await bench.open()
    one = os.urandom(max(3, before.least_part_bytes))
    handle = await before.begin_parts("k")
    await before.put_part(handle, 1, _chunks(one), len(one))
    await before.close()
    await before.close()
    after = await bench.open()
    await after.put_part(handle, 2, _chunks(b"two"), 3)
    await after.join_parts(handle, "k", 2)
    assert await _all(after, "k") == one + b"two"


async def test_handles_that_nobody_finished_are_found(store: BlobStore) -> None:
    handle = await store.begin_parts("k")
    with_digests = await store.begin_parts("k", with_digests=True)
    joined, dropped = await store.begin_parts("j"), await store.begin_parts("d")
    await store.put_part(joined, 1, _chunks(b"x"), 1)
    await store.join_parts(joined, "j", 1)
    await store.drop_parts(dropped)
    now = now_ms(SystemClock())
    assert sorted(await store.abandoned_parts(now + 60_000)) == sorted([handle, with_digests])
    assert list(await store.abandoned_parts(now - 60_000)) == []


async def test_more_parts_and_more_handles_than_a_page_are_all_listed(store: BlobStore) -> None:
    handle = await store.begin_parts("k")
    numbers = range(1, MANY + 1)
    await _at_once([lambda n=n: store.put_part(handle, n, _chunks(b"x"), 1) for n in numbers])  # type: ignore[misc]
    assert [part.number for part in await store.list_parts(handle)] == list(numbers)
    handles = {handle}

    async def begin(number: int) -> None:
        handles.add(await store.begin_parts(f"originals/{number}"))

    await _at_once([lambda n=n: begin(n) for n in numbers])  # type: ignore[misc]
    assert set(await store.abandoned_parts(now_ms(SystemClock()) + 60_000)) == handles
    await _at_once([lambda h=h: store.drop_parts(h) for h in handles])  # type: ignore[misc]
    assert list(await store.abandoned_parts(now_ms(SystemClock()) + 60_000)) == []


async def test_reading_by_range(store: BlobStore) -> None:
    data = os.urandom(1_500_000)
    stat = await store.put_bytes("a/b/c.bin", data)
    found = await store.stat("a/b/c.bin")
    assert found is not None and (found.key, found.size_bytes, found.etag) == (stat.key, len(data), stat.etag)
    assert abs(found.modified_at_ms - stat.modified_at_ms) < 10_000
    assert await _all(store, "a/b/c.bin", 10, 20) == data[10:30]
    assert await _all(store, "a/b/c.bin", len(data) - 5) == data[-5:]
    assert await _all(store, "a/b/c.bin", len(data) - 5, 100) == data[-5:]
    assert await _all(store, "a/b/c.bin", len(data)) == b""
    assert await _all(store, "a/b/c.bin", 0, 0) == b""
    assert [len(block) <= 1 << 20 async for block in store.read("a/b/c.bin")].count(False) == 0
    await store.put_bytes("empty", b"")
    assert await _all(store, "empty") == b""


async def test_a_read_that_is_given_up_half_way_leaves_the_store_usable(store: BlobStore) -> None:
    await store.put_bytes("k", os.urandom(4 << 20))
    for _ in range(100):
        blocks = store.read("k")
        assert await anext(blocks)
        await blocks.aclose()
    assert len(await _all(store, "k", 0, 10)) == 10


async def test_a_file_is_copied_and_lent_as_a_file(store: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"first")
    first = await store.put_file("s/x.m4s", source)
    source.write_bytes(b"second!")
    assert await _all(store, "s/x.m4s") == b"first"
    assert (await store.put_file("s/x.m4s", source)).etag != first.etag
    async with store.as_file("s/x.m4s") as path:
        assert path.read_bytes() == b"second!"


async def test_a_file_of_many_pieces_is_the_same_there_and_back(store: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    data = os.urandom((20 << 20) + 7)
    source.write_bytes(data)
    stat = await store.put_file("originals/9", source)
    assert stat.size_bytes == len(data)
    async with store.as_file("originals/9") as path:
        assert path.read_bytes() == data
    assert list(await store.abandoned_parts(now_ms(SystemClock()) + 60_000)) == []


async def test_what_is_not_there_is_said_so(store: BlobStore) -> None:
    assert await store.stat("nothing") is None
    assert await store.stat("../parts") is None
    for start, length in ((0, None), (5, 5), (0, 0)):
        with pytest.raises(NoSuchBlob):
            await _all(store, "nothing", start, length)
    with pytest.raises(NoSuchBlob):
        async with store.as_file("nothing"):
            pass
    for key in ("../x", "/etc/passwd", "a//b", "a/../b", "", "a\0b"):
        with pytest.raises(ValueError):
            await store.put_bytes(key, b"x")


async def test_listing_in_pages_and_deleting(store: BlobStore) -> None:
    keys = [f"sets/1/v360/s{number:05d}.m4s" for number in range(5)]
    for key in [*keys, "sets/10/x", "sets/2/x"]:
        await store.put_bytes(key, b"x")
    assert [blob.key for blob in await store.list("sets/1/")] == keys
    assert [blob.key for blob in await store.list("sets/1/", after=keys[1], limit=2)] == keys[2:4]
    await store.delete(keys[0])
    await store.delete(keys[0])
    await store.delete_prefix("sets/1/")
    await store.delete_prefix("sets/1/")
    assert [blob.key for blob in await store.list("sets/")] == ["sets/10/x", "sets/2/x"]


async def test_more_blobs_than_a_page_are_listed_and_deleted(store: BlobStore) -> None:
    keys = [f"sets/1/{number:05d}" for number in range(MANY)]
    await _at_once([lambda k=k: store.put_bytes(k, b"x") for k in keys])  # type: ignore[misc]
    assert [blob.key for blob in await store.list("sets/1/", limit=2000)] == keys
    assert [blob.key for blob in await store.list("sets/1/")] == keys[:1000]
    assert [blob.key for blob in await store.list("sets/1/", after=keys[999])] == keys[1000:]
    await store.delete_prefix("sets/1/")
    assert await store.list("sets/") == []


def test_an_unknown_scheme_is_named_with_the_valid_ones() -> None:
    with pytest.raises(UnknownScheme, match=r"REELGRAPH_BLOBS_URL.*file, s3"):
        resolve("REELGRAPH_BLOBS_URL", "ftp://x", SCHEMES)
