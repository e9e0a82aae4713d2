"""The whole way of a video, on every blob store: bytes in, renditions out, played, deleted."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from media_svc.blobs.open_context import BlobContext
from media_svc.blobs.stores import SCHEMES
from media_svc.transcode.engine.tools import FfmpegTools
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.media.v1.uploads_pb2 import UploadState
from reelgraph.media.v1.videos_pb2 import DeleteVideoRequest, UpdateVideoRequest, VideoState, Visibility
from svc_kit.backends import resolve
from svc_kit.clock import SystemClock
from tests.support.blobs import MEDIA, SECRET, SETTING, blob_url
from tests.support.engines import servers
from tests.support.media import MediaBench, media_bench, on_socket

S3_PART = 5 << 20
"""The least that S3 joins."""


@dataclass(frozen=True)
class Place:
    """Where one test's bytes are kept."""

    url: str
    folder: Path
    part_bytes: int

    def bench(self, **settings: Any) -> AbstractAsyncContextManager[MediaBench]:
        """The service on it; again, the same one after a restart."""
        return media_bench(self.folder, blobs_url=self.url, part_bytes=self.part_bytes, **settings)

    async def kept(self, prefix: str) -> set[str]:
        """The next segments of blobs' keys below a prefix."""
        context = BlobContext(SECRET, lambda: MEDIA, SystemClock(), self.folder / "scratch")
        store = await resolve(SETTING, self.url, SCHEMES).open(self.url, context)
        try:
            return {blob.key.removeprefix(prefix).partition("/")[0] for blob in await store.list(prefix)}
        finally:
            await store.close()


@pytest.fixture(params=["file", *servers("s3")])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with blob_url(request.param, tmp_path) as url:
        yield Place(url, tmp_path, 16 * 1024 if request.param == "file" else S3_PART)


@pytest.fixture
async def bench(place: Place) -> AsyncIterator[MediaBench]:
    """The service, its workers running."""
    async with place.bench() as bench:
        yield bench


@pytest.fixture
def footage(clip: Callable[..., bytes], place: Place) -> bytes:
    """A clip of several parts: where parts are large, with a box at its end that players skip."""
    padding = 0 if place.part_bytes < S3_PART else 2 * S3_PART + 1000
    return clip() + (struct.pack(">I4s", padding + 8, b"free") + os.urandom(padding) if padding else b"")


async def test_parts_in_any_order_at_once_and_twice_become_a_video_that_ffmpeg_plays_without_a_warning(
    bench: MediaBench, footage: bytes
) -> None:
    data = footage
    upload = await bench.begin(1, data)
    assert upload.state == UploadState.UPLOAD_STATE_RECEIVING and len(upload.parts) > 2
    video = await bench.publish(1, upload.id, caption="A #Tag and #tag #Other")
    assert (video.state, list(video.hashtags)) == (VideoState.VIDEO_STATE_PROCESSING, ["tag", "other"])
    size = upload.part_size_bytes
    backwards = list(reversed(upload.parts))
    answers = await asyncio.gather(
        *(bench.put(p, data[(p.number - 1) * size : (p.number - 1) * size + p.size_bytes]) for p in backwards * 2)
    )
    assert all(a.is_success and a.headers["etag"] for a in answers)

    assert (await bench.complete(1, upload)).state != UploadState.UPLOAD_STATE_RECEIVING
    told = await bench.states(1, upload.id)
    assert told[-1].state == UploadState.UPLOAD_STATE_READY and told[-1].progress_percent == 100
    assert (await bench.complete(1, upload)).state == UploadState.UPLOAD_STATE_READY

    (ready,) = await bench.seen(0, video.id)
    assert (ready.state, ready.width, ready.height, ready.has_audio) == (VideoState.VIDEO_STATE_READY, 180, 320, True)
    assert 900 <= ready.duration_ms <= 1200 and [r.height for r in ready.playback.renditions] == [320]
    async with on_socket(bench) as root:
        await _plays(root, ready.playback.hls_url)
    for url in (ready.playback.poster_url, *ready.playback.still_urls):
        picture = await bench.http.get(url)
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    assert await _events(bench) == ["video_ready", "video_published"]


async def _plays(root: str, hls_url: str) -> None:
    ffmpeg = (await FfmpegTools.find()).ffmpeg
    url = hls_url.replace("http://media.test", root)
    command = [str(ffmpeg), "-v", "warning", "-i", url, "-f", "null", "-"]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (0, "")


async def _events(bench: MediaBench) -> list[str]:
    async with bench.platform.bus.consumer("test", ["video"]) as consumer:
        found: list[str] = []
        while deliveries := await consumer.poll(100, 1.0):
            events = [Event.FromString(d.record.payload) for d in deliveries]
            assert [e.entity_version for e in events] == sorted({e.entity_version for e in events})
            found += [str(e.WhichOneof("body")) for e in events]
            await consumer.commit(deliveries)
        return found


async def test_the_same_bytes_are_stored_and_transcoded_once_and_a_bare_digest_gives_nothing(
    bench: MediaBench, footage: bytes, place: Place
) -> None:
    data = footage
    first = await bench.upload(1, data)
    assert first.state == UploadState.UPLOAD_STATE_READY
    sets = await place.kept("sets/")

    again = await bench.begin(1, data)
    assert again.id != first.id and again.state == UploadState.UPLOAD_STATE_READY

    others = await bench.begin(2, data)
    assert others.state == UploadState.UPLOAD_STATE_RECEIVING and not any(p.received for p in others.parts)
    await bench.send(others, data)
    await bench.complete(2, others)
    told = await bench.states(2, others.id)
    assert told[-1].state == UploadState.UPLOAD_STATE_READY

    assert await place.kept("sets/") == sets
    assert len(await place.kept("originals/")) == 1

    # One's own video is deleted: the other's plays on, under a name of its own.
    mine, theirs = await bench.publish(1, first.id), await bench.publish(2, others.id)
    await bench.call(bench.videos.DeleteVideo, DeleteVideoRequest(video_id=mine.id), 1)
    assert (await bench.http.get(mine.playback.hls_url)).status_code == 404
    assert (await bench.http.get(theirs.playback.hls_url)).status_code == 200


async def test_a_deleted_video_and_one_whose_visibility_changed_stop_playing_at_once(
    bench: MediaBench, clip: Callable[..., bytes]
) -> None:
    upload = await bench.upload(1, clip())
    video = await bench.publish(1, upload.id, caption="mine")
    assert (await bench.publish(1, upload.id, caption="other")).caption == "mine"
    old = video.playback.hls_url
    assert (await bench.http.get(old)).status_code == 200

    request = UpdateVideoRequest(video_id=video.id, visibility=Visibility.VISIBILITY_PRIVATE)
    private = (await bench.call(bench.videos.UpdateVideo, request, 1)).video
    assert (await bench.http.get(old)).status_code == 404
    playlist = await bench.http.get(private.playback.hls_url)
    assert playlist.status_code == 200 and playlist.headers["cache-control"].startswith("private")

    for _ in range(2):
        await bench.call(bench.videos.DeleteVideo, DeleteVideoRequest(video_id=video.id), 1)
    assert (await bench.http.get(private.playback.hls_url)).status_code == 404
    assert (await bench.http.get(private.playback.poster_url)).status_code == 404
    assert await bench.seen(1, video.id) == []


async def test_an_upload_goes_on_after_a_crash_of_the_server(place: Place, footage: bytes) -> None:
    data = footage
    async with place.bench(work=False) as before:
        upload = await before.begin(1, data)
        await before.send(upload, data, [2, 3])
    async with place.bench() as after:
        resumed = await after.begin(1, data)
        assert resumed.id == upload.id
        assert [p.number for p in resumed.parts if p.received] == [2, 3]
        await after.send(resumed, data, [p.number for p in resumed.parts if not p.received])
        await after.complete(1, resumed)
        assert (await after.states(1, upload.id))[-1].state == UploadState.UPLOAD_STATE_READY


async def test_segments_are_served_in_part_and_validated_and_an_origin_may_read_them(
    bench: MediaBench, clip: Callable[..., bytes]
) -> None:
    video = await bench.publish(1, (await bench.upload(1, clip())).id)
    master = await bench.http.get(video.playback.hls_url, headers={"Origin": "https://app.example"})
    assert master.headers["content-type"].startswith("application/vnd.apple.mpegurl")
    assert master.headers["access-control-allow-origin"] == "*"
    base = video.playback.hls_url.removesuffix("master.m3u8")
    segment = base + "v180/s00000.m4s"
    whole = await bench.http.get(segment)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/iso.segment")
    assert "immutable" in whole.headers["cache-control"]
    await _check_ranges(bench.http, segment, whole)
    await _check_refusals(bench.http, base, video.playback.hls_url)


async def _check_ranges(http: httpx.AsyncClient, url: str, whole: httpx.Response) -> None:
    size = len(whole.content)
    middle = await http.get(url, headers={"Range": "bytes=10-19"})
    assert (middle.status_code, middle.content) == (206, whole.content[10:20])
    assert middle.headers["content-range"] == f"bytes 10-19/{size}"
    assert (await http.get(url, headers={"Range": "bytes=-5"})).content == whole.content[-5:]
    assert (await http.get(url, headers={"Range": f"bytes={size}-"})).status_code == 416
    several = await http.get(url, headers={"Range": "bytes=0-1,3-4"})
    assert (several.status_code, len(several.content)) == (200, size)
    head = await http.head(url)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")
    same = await http.get(url, headers={"If-None-Match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    changed = await http.get(url, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (changed.status_code, len(changed.content)) == (200, size)


async def _check_refusals(http: httpx.AsyncClient, base: str, hls_url: str) -> None:
    assert (await http.get(base + "v999/s00000.m4s")).status_code == 404
    assert (await http.get(base + "poster.jpg")).status_code == 404
    for path in ("../../originals/1", "%2e%2e/%2e%2e/originals/1", "v180/../master.m3u8%00", "//etc/passwd"):
        answer = await http.get(base + path, follow_redirects=True)
        assert answer.status_code in (403, 404), path
    forged = hls_url.replace("/v/", "/v/x", 1)
    answer = await http.get(forged)
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


async def test_digests_that_come_with_a_later_beginning_hold_from_then_on(place: Place) -> None:
    data = os.urandom(place.part_bytes + 1000)
    digests = [hashlib.sha256(part).hexdigest() for part in (data[: place.part_bytes], data[place.part_bytes :])]
    async with place.bench(work=False) as bench:
        upload = await bench.begin(1, data)
        await bench.send(upload, data, [2])
        again = await bench.begin(1, data, part_sha256=digests)
        assert again.id == upload.id
        wrong = await bench.put(again.parts[1], os.urandom(1000))
        assert 400 <= wrong.status_code < 500
        await bench.send(again, data)
        assert all(part.received for part in (await bench.get(1, upload.id)).parts)
        assert (await bench.complete(1, again)).state == UploadState.UPLOAD_STATE_VERIFYING
