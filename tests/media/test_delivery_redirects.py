"""Segments and pictures fetched from the blob store itself, when the setting says so and the store has URLs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from reelgraph.media.v1.videos_pb2 import UpdateVideoRequest, Video, Visibility
from tests.media.test_upload_to_playback import _plays
from tests.support.blobs import blob_url
from tests.support.engines import servers
from tests.support.media import MediaBench, media_bench, on_socket


@pytest.fixture(params=["file", *servers("s3")])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MediaBench]:
    async with blob_url(request.param, tmp_path) as url, media_bench(tmp_path, blobs_url=url, delivery="redirect") as b:
        yield b


@pytest.fixture
async def video(bench: MediaBench, clip: Callable[..., bytes]) -> Video:
    return await bench.publish(1, (await bench.upload(1, clip())).id)


def _segment(video: Video) -> str:
    return video.playback.hls_url.removesuffix("master.m3u8") + "v180/s00000.m4s"


@pytest.mark.parametrize("bench", servers("s3"), indirect=True)
async def test_a_public_segment_is_fetched_from_the_store_whole_and_in_part(bench: MediaBench, video: Video) -> None:
    sent = await bench.http.get(_segment(video))
    assert (sent.status_code, sent.content) == (302, b"")
    assert sent.headers["cache-control"] == "public, max-age=300"
    assert (await bench.http.get(_segment(video))).headers["location"] == sent.headers["location"]
    whole = await bench.http.get(sent.headers["location"])
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/iso.segment")
    assert whole.headers["etag"] == sent.headers["etag"]
    part = await bench.http.get(_segment(video), headers={"Range": "bytes=10-19"}, follow_redirects=True)
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    poster = await bench.http.get(video.playback.poster_url, follow_redirects=True)
    assert (poster.status_code, poster.headers["content-type"]) == (200, "image/jpeg")


async def test_what_needs_no_bytes_is_answered_here_and_players_play(bench: MediaBench, video: Video) -> None:
    url = _segment(video)
    head = await bench.http.head(url)
    size = int(head.headers["content-length"])
    assert (head.status_code, head.headers["accept-ranges"]) == (200, "bytes")
    same = await bench.http.get(url, headers={"If-None-Match": head.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    assert (await bench.http.get(url, headers={"Range": f"bytes={size}-"})).status_code == 416
    assert (await bench.http.get(url.replace("s00000", "s99999"))).status_code == 404
    assert (await bench.http.get(video.playback.hls_url)).status_code == 200
    async with on_socket(bench) as root:
        await _plays(root, video.playback.hls_url)


async def test_what_is_not_public_never_leaves_by_the_store(bench: MediaBench, video: Video) -> None:
    request = UpdateVideoRequest(video_id=video.id, visibility=Visibility.VISIBILITY_PRIVATE)
    private = (await bench.call(bench.videos.UpdateVideo, request, 1)).video
    segment = await bench.http.get(_segment(private))
    assert segment.status_code == 200 and segment.headers["cache-control"].startswith("private")
