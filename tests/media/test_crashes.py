"""A process that is killed while it transcodes: nothing acknowledged is lost, and the work is done by the next."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from reelgraph.media.v1.uploads_pb2 import UploadState
from reelgraph.media.v1.videos_pb2 import VideoState
from tests.support.media import media_bench


async def test_a_transcode_goes_on_after_its_process_was_killed(tmp_path: Path, clip: Callable[..., bytes]) -> None:
    source = tmp_path / "clip.mp4"
    source.write_bytes(clip(2.0, hue=90))
    world = tmp_path / "world"
    world.mkdir()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.media.crash_child", str(world), str(source)),
        env=os.environ | {"REELGRAPH_CRASH_AT": "transcode.running"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == -signal.SIGKILL
    upload_id, video_id = map(int, out.split())
    async with media_bench(world) as bench:
        assert (await bench.states(1, upload_id))[-1].state == UploadState.UPLOAD_STATE_READY
        (video,) = await bench.seen(0, video_id)
        assert video.state == VideoState.VIDEO_STATE_READY
        assert (await bench.http.get(video.playback.hls_url)).status_code == 200
        assert not list((world / "tmp/transcode").iterdir())
