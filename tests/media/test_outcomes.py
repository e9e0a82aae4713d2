"""What becomes of uploads that are not what they say, of images, of what is given up, and of what nobody uses."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from PIL import Image

from media_svc.jobs.store import TRANSCODE
from media_svc.jobs.stores.sql import SqlJobQueue
from media_svc.schema import outbox, replies
from reelgraph.media.v1.uploads_pb2 import AbortUploadRequest, ClaimAvatarRequest, UploadState
from reelgraph.media.v1.videos_pb2 import DeleteVideoRequest, VideoState
from svc_kit.db import connect
from svc_kit.errors import AppError, UserCode
from svc_kit.uow import UnitOfWork
from tests.support.media import MediaBench, eventually, media_bench

FAILED, READY, ABORTED = (
    UploadState.UPLOAD_STATE_FAILED,
    UploadState.UPLOAD_STATE_READY,
    UploadState.UPLOAD_STATE_ABORTED,
)


async def test_bytes_that_are_no_video_fail_with_a_reason_and_so_does_their_video(
    bench: MediaBench, tmp_path: Path
) -> None:
    data = os.urandom(40_000)
    upload = await bench.begin(1, data)
    video = await bench.publish(1, upload.id)
    await bench.send(upload, data)
    await bench.complete(1, upload)
    failed = (await bench.states(1, upload.id))[-1]
    assert (failed.state, failed.failure_code) == (FAILED, "NOT_A_VIDEO") and "not a video" in failed.failure_reason
    (seen,) = await bench.seen(1, video.id)
    assert (seen.state, seen.failure_reason) == (VideoState.VIDEO_STATE_FAILED, failed.failure_reason)
    assert await bench.seen(2, video.id) == []
    with pytest.raises(AppError) as refused:
        await bench.complete(1, upload)
    assert refused.value.user_code is UserCode.CONFLICT
    assert (await bench.begin(1, data)).id != upload.id


async def test_a_video_that_is_too_long_fails_and_says_the_limit(tmp_path: Path, clip: Callable[..., bytes]) -> None:
    async with media_bench(tmp_path, max_duration_ms=500) as bench:
        failed = await bench.upload(1, clip())
    assert failed.failure_code == "TOO_LONG" and "0.5 s" in failed.failure_reason


async def test_other_bytes_than_announced_fail_and_are_not_kept(bench: MediaBench, tmp_path: Path) -> None:
    upload = await bench.begin(1, b"x" * 20_000, sha256="ab" * 32)
    await bench.send(upload, b"x" * 20_000)
    await bench.complete(1, upload)
    failed = (await bench.states(1, upload.id))[-1]
    assert (failed.state, failed.failure_code) == (FAILED, "DIGEST_MISMATCH")
    kept = tmp_path / "blobs/blobs/originals"
    assert not kept.exists() or list(kept.iterdir()) == []


def _image(kind: str, size: tuple[int, int] = (300, 200)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA" if kind == "PNG" else "RGB", size, "red").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "content_type"), [("PNG", "image/png"), ("WEBP", "image/webp")])
async def test_an_image_is_ready_without_transcoding_and_lasts_as_an_avatar(
    bench: MediaBench, kind: str, content_type: str
) -> None:
    upload = await bench.upload(1, _image(kind), content_type)
    assert upload.state == READY
    request = ClaimAvatarRequest(upload_id=upload.id)
    url = (await bench.call(bench.uploads.ClaimAvatar, request, 1)).avatar_url
    assert (await bench.call(bench.uploads.ClaimAvatar, request, 1)).avatar_url == url
    answer = await bench.http.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert "immutable" in answer.headers["cache-control"]
    assert Image.open(io.BytesIO(answer.content)).size == (200, 200)
    assert (await bench.http.get(url.replace("/a/", "/a/x"))).status_code == 404
    with pytest.raises(AppError):
        await bench.publish(1, upload.id)
    with pytest.raises(AppError):
        await bench.call(bench.uploads.ClaimAvatar, request, 2)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<svg/>" * 20, "NOT_AN_IMAGE"),
        (_image("PNG")[:150], "CORRUPT"),
        (_image("PNG", (5000, 4000)), "TOO_MANY_PIXELS"),
        (_image("PNG", (10, 10)), "TOO_SMALL"),
    ],
)
async def test_a_bad_image_fails_with_its_reason(bench: MediaBench, data: bytes, code: str) -> None:
    failed = await bench.upload(1, data, "image/png")
    assert (failed.state, failed.failure_code) == (FAILED, code)


async def test_an_image_that_calls_itself_a_video_is_none_even_where_its_bytes_are_known(bench: MediaBench) -> None:
    image = _image("JPEG")
    assert (await bench.upload(1, image, "image/jpeg")).state == READY
    failed = await bench.upload(2, image, "video/mp4")
    assert (failed.state, failed.failure_code) == (FAILED, "NOT_A_VIDEO")


async def test_giving_up_a_running_transcode_stops_its_child(bench: MediaBench, clip: Callable[..., bytes]) -> None:
    data = clip(8.0, size="720x1280")
    upload = await bench.begin(1, data)
    video = await bench.publish(1, upload.id)
    await bench.send(upload, data)
    await bench.complete(1, upload)
    pid = await _encoder()
    aborted = await bench.call(bench.uploads.AbortUpload, AbortUploadRequest(upload_id=upload.id), 1)
    assert aborted.upload.state == ABORTED
    await eventually(lambda: not _alive(pid))
    assert (await bench.seen(1, video.id))[0].state == VideoState.VIDEO_STATE_FAILED
    assert await _jobs(bench) == 0
    await bench.call(bench.uploads.AbortUpload, AbortUploadRequest(upload_id=upload.id), 1)


async def test_a_transcode_whose_child_is_killed_is_tried_again(bench: MediaBench, clip: Callable[..., bytes]) -> None:
    data = clip(3.0, hue=40, size="360x640")
    upload = await bench.begin(1, data)
    await bench.send(upload, data)
    await bench.complete(1, upload)
    os.kill(await _encoder(), signal.SIGKILL)
    assert (await bench.states(1, upload.id))[-1].state == READY


async def _encoder() -> int:
    """The pid of an ffmpeg that this process started."""
    await eventually(lambda: bool(_encoders()))
    return _encoders()[0]


def _encoders() -> list[int]:
    lists = [path.read_text().split() for path in Path(f"/proc/{os.getpid()}/task").glob("*/children")]
    commands = {int(pid): _command(int(pid)) for pids in lists for pid in pids}
    return [pid for pid, command in commands.items() if b"force_key_frames" in command and b"--parent" not in command]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _alive(pid: int) -> bool:
    return _command(pid) != b""


async def _jobs(bench: MediaBench) -> int:
    db = connect(bench.platform.settings.service_db_url("media"))
    queue = SqlJobQueue(UnitOfWork(db, outbox, replies, bench.platform.ids, bench.platform.clock))
    try:
        return await queue.count(TRANSCODE)
    finally:
        await db.close()


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[MediaBench]:
    """The service with a janitor that keeps nothing and never sleeps long."""
    async with media_bench(tmp_path, janitor_s=0.05, kept_unreferenced_s=0) as bench:
        yield bench


async def test_bytes_go_once_nobody_uses_them(hasty: MediaBench, clip: Callable[..., bytes], tmp_path: Path) -> None:
    data = clip()
    mine, theirs = await hasty.upload(1, data), await hasty.upload(2, data)
    first, second = await hasty.publish(1, mine.id), await hasty.publish(2, theirs.id)
    await hasty.call(hasty.videos.DeleteVideo, DeleteVideoRequest(video_id=first.id), 1)
    await asyncio.sleep(0.2)
    assert (await hasty.http.get(second.playback.hls_url)).status_code == 200
    await hasty.call(hasty.videos.DeleteVideo, DeleteVideoRequest(video_id=second.id), 2)
    await eventually(lambda: not any(p.is_file() for p in (tmp_path / "blobs/blobs").rglob("*")))
    begun = await hasty.begin(1, data)
    assert begun.state == UploadState.UPLOAD_STATE_RECEIVING
    assert (await hasty.upload(1, data)).state == READY


async def test_an_upload_that_nobody_finishes_is_given_up(tmp_path: Path) -> None:
    async with media_bench(tmp_path, janitor_s=0.05, upload_ttl_s=1) as bench:
        upload = await bench.begin(1, b"x" * 100)
        video = await bench.publish(1, upload.id)
        assert (await bench.states(1, upload.id))[-1].state == ABORTED
        (failed,) = await bench.seen(1, video.id)
        assert failed.state == VideoState.VIDEO_STATE_FAILED and "in time" in failed.failure_reason
        assert list((tmp_path / "blobs/parts").iterdir()) == []
