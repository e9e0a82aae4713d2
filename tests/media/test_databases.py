"""Uploads, sets, videos and jobs on every relational engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from media_svc.schema import metadata
from reelgraph.media.v1.uploads_pb2 import UploadState
from reelgraph.media.v1.videos_pb2 import DeleteVideoRequest, ListAuthorVideosRequest
from svc_kit.errors import AppError
from tests.support.databases import DATABASES, common_url
from tests.support.media import MediaBench, media_bench

READY = UploadState.UPLOAD_STATE_READY


@pytest.fixture(params=DATABASES)
async def on_engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MediaBench]:
    db_url = await common_url(request.param, tmp_path, "media", metadata)
    async with media_bench(tmp_path, db_url=db_url, part_bytes=16 * 1024) as bench:
        yield bench


async def test_a_video_is_uploaded_published_listed_and_deleted(
    on_engine: MediaBench, clip: Callable[..., bytes]
) -> None:
    bench, data = on_engine, clip(1.0)
    upload = await bench.upload(1, data)
    assert upload.state == READY
    video = await bench.publish(1, upload.id, caption="Größe 日本 🐈 #Cats", visibility="VISIBILITY_PUBLIC")
    (seen,) = await bench.seen(2, video.id)
    assert (seen.caption, list(seen.hashtags), seen.author_id) == ("Größe 日本 🐈 #Cats", ["cats"], 1)
    assert seen.playback.hls_url
    listed = await bench.call(bench.videos.ListAuthorVideos, ListAuthorVideosRequest(author_id=1, page_size=10), 2)
    assert [one.video.id for one in listed.entries] == [video.id]
    await bench.call(bench.videos.DeleteVideo, DeleteVideoRequest(video_id=video.id), 1)
    assert await bench.seen(1, video.id) == []


async def test_the_same_bytes_of_several_at_once_are_one_set(on_engine: MediaBench, clip: Callable[..., bytes]) -> None:
    data = clip(1.0, hue=40)
    uploads = await asyncio.gather(*(on_engine.upload(user, data) for user in (1, 2, 3)))
    assert {upload.state for upload in uploads} == {READY}
    videos = await asyncio.gather(
        *(on_engine.publish(user, upload.id, visibility="VISIBILITY_PUBLIC") for user, upload in enumerate(uploads, 1))
    )
    assert len(await on_engine.seen(9, *(video.id for video in videos))) == 3


async def test_uploads_begun_at_once_do_not_pass_their_limit(on_engine: MediaBench) -> None:
    async def begin(number: int) -> bool:
        try:
            await on_engine.begin(1, b"", size_bytes=100, sha256=f"{number:064x}")
        except AppError:
            return False
        return True

    begun = await asyncio.gather(*(begin(number) for number in range(16)))
    assert sum(begun) == 10
