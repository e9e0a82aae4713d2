"""What every adapter of the blob store does. Add one by a line in `ADAPTERS`: how to make a fresh, empty store."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from media_svc.blobs.open_context import BlobContext
from media_svc.blobs.store import BlobStore, NoSuchBlob, NoSuchParts, WrongDigest, WrongLength
from media_svc.blobs.stores import SCHEMES
from svc_kit.backends import UnknownScheme, resolve
from svc_kit.clock import SystemClock, now_ms

Opener = Callable[[Path], Awaitable[BlobStore]]


def _context() -> BlobContext:
    return BlobContext(b"secret", lambda: "http://media.test", SystemClock())


async def _local(folder: Path) -> BlobStore:
    url = f"file://{folder / 'a folder'}".replace(" ", "%20")
    store: BlobStore = await resolve("REELGRAPH_BLOBS_URL", url, SCHEMES).open(url, _context())
    return store


ADAPTERS: dict[str, Opener] = {"file": _local}


@pytest.fixture(params=list(ADAPTERS))
def opener(request: pytest.FixtureRequest) -> Opener:
    return ADAPTERS[request.param]


@pytest.fixture
async def store(opener: Opener, tmp_path: Path) -> AsyncIterator[BlobStore]:
    opened = await opener(tmp_path)
    yield opened
    await opened.close()


async def _chunks(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def _all(store: BlobStore, key: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([block async for block in store.read(key, start, length)])


async def test_parts_in_any_order_become_one_blob(store: BlobStore) -> None:
    parts = [os.urandom(3000), os.urandom(3000), os.urandom(10)]
    handle = await store.begin_parts("originals/1")
    for number in (3, 1, 2):
        data = parts[number - 1]
        etag = await store.put_part(handle, number, _chunks(data), len(data), hashlib.sha256(data).hexdigest())
        assert etag == hashlib.sha256(data).hexdigest()
    assert [(p.number, p.size_bytes) for p in await store.list_parts(handle)] == [(1, 3000), (2, 3000), (3, 10)]
    stat = await store.join_parts(handle, "originals/1", 3)
    assert (stat.key, stat.size_bytes) == ("originals/1", 6010)
    assert await _all(store, "originals/1") == b"".join(parts)
    assert await store.list_parts(handle) == []
    assert await store.join_parts(handle, "originals/1", 3) == stat


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

    handle = await store.begin_parts("k")
    await store.put_part(handle, 1, _chunks(b"good"), 4)
    with pytest.raises(WrongDigest):
        await store.put_part(handle, 1, _chunks(b"evil"), 4, hashlib.sha256(b"good").hexdigest())
    with pytest.raises(ConnectionError):
        await store.put_part(handle, 2, broken(), 100)
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
    for wrong in (handle, "../../etc", "nothing"):
        with pytest.raises(NoSuchParts):
            await store.put_part(wrong, 1, _chunks(b"x"), 1)
        assert await store.list_parts(wrong) == []
    assert await store.stat("k") is None


async def test_parts_are_there_after_the_process_ended(opener: Opener, tmp_path: Path) -> None:
    before = await opener(tmp_path)
    handle = await before.begin_parts("k")
    await before.put_part(handle, 1, _chunks(b"one"), 3)
    await before.close()
    after = await opener(tmp_path)
    await after.put_part(handle, 2, _chunks(b"two"), 3)
    await after.join_parts(handle, "k", 2)
    assert await _all(after, "k") == b"onetwo"
    await after.close()


async def test_handles_that_nobody_finished_are_found(store: BlobStore) -> None:
    handle = await store.begin_parts("k")
    joined = await store.begin_parts("j")
    await store.put_part(joined, 1, _chunks(b"x"), 1)
    await store.join_parts(joined, "j", 1)
    now = now_ms(SystemClock())
    assert list(await store.abandoned_parts(now + 60_000)) == [handle]
    assert list(await store.abandoned_parts(now - 60_000)) == []


async def test_a_part_url_is_absolute_and_differs_by_what_it_signs(store: BlobStore) -> None:
    handle = await store.begin_parts("k")
    signed = [
        await store.sign_part(handle, 1, 10, "", 1_000),
        await store.sign_part(handle, 2, 10, "", 1_000),
        await store.sign_part(handle, 1, 11, "", 1_000),
        await store.sign_part(handle, 1, 10, "ab" * 32, 1_000),
        await store.sign_part(handle, 1, 10, "", 2_000),
    ]
    assert len({part.url for part in signed}) == 5 and all(part.url.startswith("http") for part in signed)
    assert not {name.lower() for part in signed for name, _ in part.headers} & {"content-length", "host"}


async def test_reading_by_range(store: BlobStore) -> None:
    data = os.urandom(1_500_000)
    stat = await store.put_bytes("a/b/c.bin", data)
    assert await store.stat("a/b/c.bin") == stat and stat.size_bytes == len(data)
    assert await _all(store, "a/b/c.bin", 10, 20) == data[10:30]
    assert await _all(store, "a/b/c.bin", len(data) - 5) == data[-5:]
    assert await _all(store, "a/b/c.bin", 0, 0) == b""
    async for block in store.read("a/b/c.bin"):
        assert len(block) <= 1 << 20


async def test_a_file_is_copied_and_lent_as_a_file(store: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"first")
    first = await store.put_file("s/x.m4s", source)
    source.write_bytes(b"second!")
    assert await _all(store, "s/x.m4s") == b"first"
    assert (await store.put_file("s/x.m4s", source)).etag != first.etag
    async with store.as_file("s/x.m4s") as path:
        assert path.read_bytes() == b"second!"


async def test_what_is_not_there_is_said_so(store: BlobStore) -> None:
    assert await store.stat("nothing") is None
    assert await store.stat("../parts") is None
    with pytest.raises(NoSuchBlob):
        await _all(store, "nothing")
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


def test_an_unknown_scheme_is_named_with_the_valid_ones() -> None:
    with pytest.raises(UnknownScheme, match=r"REELGRAPH_BLOBS_URL.*file"):
        resolve("REELGRAPH_BLOBS_URL", "ftp://x", SCHEMES)
