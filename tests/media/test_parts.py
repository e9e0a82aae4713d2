"""Part URLs: what they take, what they refuse, and what is left when a client goes away."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from media_svc.blobs.part_tokens import PartTokens
from reelgraph.media.v1.uploads_pb2 import AbortUploadRequest, Upload, UploadState
from svc_kit.errors import AppError, UserCode
from tests.support.clock import FakeClock
from tests.support.media import MediaBench, eventually, media_bench, on_socket
from tests.support.platform import SECRET

PART = 16 * 1024


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[MediaBench]:
    """The service without workers, under a clock turned by hand."""
    async with media_bench(tmp_path, clock=FakeClock(), work=False, part_bytes=PART) as bench:
        yield bench


def _clock(bench: MediaBench) -> FakeClock:
    clock = bench.platform.clock
    assert isinstance(clock, FakeClock)
    return clock


def _data(parts: float = 2.5) -> bytes:
    return os.urandom(int(PART * parts))


async def _received(bench: MediaBench, upload: Upload) -> list[int]:
    return [part.number for part in (await bench.get(1, upload.id)).parts if part.received]


async def test_a_part_of_a_wrong_length_is_refused_and_leaves_nothing(still: MediaBench, tmp_path: Path) -> None:
    upload = await still.begin(1, _data())
    short = await still.put(upload.parts[0], b"x" * (PART - 1))
    long = await still.put(upload.parts[0], b"x" * (PART + 1))
    assert (short.status_code, short.json()["code"]) == (400, "WRONG_SIZE")
    assert (long.status_code, long.json()["code"]) == (413, "TOO_LARGE")
    assert str(PART) in long.json()["message"]
    assert await _received(still, upload) == [] and _files(tmp_path) == []


async def test_a_part_with_a_digest_takes_those_bytes_alone(still: MediaBench, tmp_path: Path) -> None:
    data = _data(2)
    digests = [hashlib.sha256(data[start : start + PART]).hexdigest() for start in (0, PART)]
    upload = await still.begin(1, data, part_sha256=digests)
    wrong = await still.put(upload.parts[0], os.urandom(PART))
    assert (wrong.status_code, wrong.json()["code"]) == (400, "WRONG_DIGEST")
    assert _files(tmp_path) == []
    right = await still.put(upload.parts[0], data[:PART])
    assert (right.status_code, right.headers["etag"]) == (204, f'"{digests[0]}"')


async def test_a_forged_an_expired_and_a_foreign_url_are_refused(still: MediaBench) -> None:
    data = _data(2)
    upload = await still.begin(1, data)
    part = upload.parts[0]
    forged = await still.http.put(part.url.replace("/u/", "/u/x", 1), content=data[:PART])
    other_number = await still.http.put(part.url.removesuffix("/1") + "/2", content=data[:PART])
    assert (forged.status_code, other_number.status_code) == (403, 403)
    assert PartTokens(SECRET.encode()).open(part.url.split("/")[-2]) is not None
    assert PartTokens(b"another secret").open(part.url.split("/")[-2]) is None
    _clock(still).advance(24 * 3600 + 1)
    expired = await still.put(part, data[:PART])
    assert (expired.status_code, expired.json()["code"]) == (403, "EXPIRED")


async def test_asking_again_gives_fresh_urls_and_keeps_what_is_there(still: MediaBench) -> None:
    data = _data(2)
    upload = await still.begin(1, data)
    await still.send(upload, data, [2])
    _clock(still).advance(23 * 3600)
    again = await still.begin(1, data)
    assert again.id == upload.id and again.parts[0].url != upload.parts[0].url
    assert [part.received for part in again.parts] == [False, True]
    _clock(still).advance(2 * 3600)
    assert (await still.put(again.parts[0], data[:PART])).status_code == 204


async def test_an_upload_that_is_over_takes_no_part(still: MediaBench) -> None:
    data = _data(2)
    upload = await still.begin(1, data)
    await still.call(still.uploads.AbortUpload, AbortUploadRequest(upload_id=upload.id), 1)
    gone = await still.put(upload.parts[0], data[:PART])
    assert (gone.status_code, gone.json()["code"]) == (410, "ABORTED")
    other = await still.begin(1, data)
    await still.send(other, data)
    await still.complete(1, other)
    late = await still.put(other.parts[0], data[:PART])
    assert (late.status_code, late.json()["code"]) == (409, "CONFLICT")


async def test_a_missing_part_is_named_and_the_upload_stays_open(still: MediaBench) -> None:
    data = _data(3)
    upload = await still.begin(1, data)
    await still.send(upload, data, [2])
    with pytest.raises(AppError) as refused:
        await still.complete(1, upload)
    assert refused.value.user_code is UserCode.INCOMPLETE and "1, 3" in refused.value.message
    assert (await still.get(1, upload.id)).state == UploadState.UPLOAD_STATE_RECEIVING


async def test_a_part_without_a_length_is_refused(still: MediaBench) -> None:
    data = _data(1)
    upload = await still.begin(1, data)

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    async with on_socket(still) as root, httpx.AsyncClient() as http:
        answer = await http.put(upload.parts[0].url.replace("http://media.test", root), content=chunks())
    assert (answer.status_code, answer.json()["code"]) == (411, "LENGTH_REQUIRED")


async def test_a_client_that_hangs_up_half_way_leaves_nothing(still: MediaBench, tmp_path: Path) -> None:
    data = _data(1)
    upload = await still.begin(1, data)
    async with on_socket(still) as root:
        host, port = root.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        path = upload.parts[0].url.removeprefix("http://media.test")
        writer.write(f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {PART}\r\n\r\n".encode() + data[: PART // 2])
        await writer.drain()
        await eventually(lambda: len(_files(tmp_path)) == 1)
        writer.close()
        await writer.wait_closed()
        await eventually(lambda: _files(tmp_path) == [])
        del reader
    assert await _received(still, upload) == []
    assert (await still.put(upload.parts[0], data)).status_code == 204


async def test_a_client_that_falls_silent_is_sent_away_and_leaves_nothing(
    still: MediaBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_svc.uploads.part_routes.IDLE_S", 0.05)
    data = _data(1)
    upload = await still.begin(1, data)
    async with on_socket(still) as root:
        host, port = root.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        path = upload.parts[0].url.removeprefix("http://media.test")
        writer.write(f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {PART}\r\n\r\n".encode() + data[: PART // 2])
        assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 408")
        writer.close()
    assert _files(tmp_path) == []
    assert await _received(still, upload) == []


async def test_a_client_that_waits_is_told_to_go_on_or_refused_before_it_sends(still: MediaBench) -> None:
    upload = await still.begin(1, _data(1))
    path = upload.parts[0].url.removeprefix("http://media.test")
    async with on_socket(still) as root:
        host, port = root.removeprefix("http://").split(":")
        for length, answer in ((PART, b"HTTP/1.1 100"), (PART + 1, b"HTTP/1.1 413")):
            reader, writer = await asyncio.open_connection(host, int(port))
            head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
            writer.write(head.encode())
            assert (await asyncio.wait_for(reader.readline(), 10)).startswith(answer)
            writer.close()


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "blobs/parts").rglob("*") if path.is_file())
