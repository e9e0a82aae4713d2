"""Nothing but the file is ever opened, whatever the file says."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from media_svc.transcode.engine.errors import MediaRejected, RejectCode, TranscodeFailed
from media_svc.transcode.engine.ladder import plan_ladder
from media_svc.transcode.engine.probe import MediaInfo, ProbeLimits, probe
from media_svc.transcode.engine.runner import EncodeLimits, run_ladder
from media_svc.transcode.engine.tools import FfmpegTools

FORGED = MediaInfo(
    duration_ms=1000,
    video_ms=1000,
    width=64,
    height=96,
    rotation=0,
    fps=Fraction(30),
    variable_frame_rate=False,
    has_audio=False,
    video_codec="h264",
    audio_codec=None,
    container="mp4",
    size_bytes=1,
    video_index=0,
    audio_index=None,
)


class Listener:
    """A local HTTP port that counts who comes."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        self.connections += 1
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    counting = Listener()
    server = await asyncio.start_server(counting.accept, "127.0.0.1", 0)
    counting.port = server.sockets[0].getsockname()[1]
    async with server:
        yield counting


def disguises(port: int, secret: Path) -> dict[str, bytes]:
    url = f"http://127.0.0.1:{port}"
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}/a.ts\n#EXT-X-ENDLIST\n".encode(),
        "hls-master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}/b.m3u8\n".encode(),
        "hls-local": f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode(),
        "concat": f"ffconcat version 1.0\nfile '{url}/c.mp4'\nfile '{secret}'\n".encode(),
        "dash": f'<?xml version="1.0"?><MPD><BaseURL>{url}/d.mpd</BaseURL></MPD>'.encode(),
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video {port} RTP/AVP 96\n".encode(),
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}/e.png"/></svg>'.encode(),
    }


KINDS = sorted(disguises(0, Path("/")))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_script_disguised_as_mp4_is_refused_and_opens_nothing(
    studio: Any, tools: FfmpegTools, listener: Listener, kind: str
) -> None:
    secret = studio.clip("silent.mp4", sound=False)
    path = studio.data(f"{kind}.mp4", disguises(listener.port, secret)[kind])
    with pytest.raises(MediaRejected) as caught:
        await probe(path, ProbeLimits(), tools)
    assert caught.value.code is RejectCode.NOT_A_VIDEO
    assert listener.connections == 0


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize("kind", ["hls", "hls-local", "concat"])
async def test_even_past_the_probe_ffmpeg_opens_nothing_else(
    studio: Any, tools: FfmpegTools, listener: Listener, tmp_path: Path, kind: str, container: str
) -> None:
    secret = studio.clip("silent.mp4", sound=False)
    path = studio.data(f"{kind}.mp4", disguises(listener.port, secret)[kind])
    info = replace(FORGED, container=container)

    async def ignore(percent: int) -> None:
        del percent

    with pytest.raises(TranscodeFailed):
        await run_ladder(path, tmp_path, info, plan_ladder(info), tools, on_progress=ignore, limits=EncodeLimits())
    assert listener.connections == 0
    assert not (tmp_path / "v64" / "s00000.m4s").exists()


async def test_even_past_the_probe_no_frame_over_the_limit_is_decoded_and_no_time_over_it_read(
    studio: Any, tools: FfmpegTools, tmp_path: Path
) -> None:
    async def ignore(percent: int) -> None:
        del percent

    limits = EncodeLimits(max_duration_ms=1000, max_frame_pixels=128 * 128)
    large = studio.clip("silent.mp4", sound=False)
    with pytest.raises(TranscodeFailed):
        await run_ladder(
            large, tmp_path / "large", FORGED, plan_ladder(FORGED), tools, on_progress=ignore, limits=limits
        )
    hours = studio.clip("hours.mp4", "64x64", 2, "1", sound=False, video_filter="setpts=N*36000/TB")
    result = await run_ladder(
        hours, tmp_path / "hours", FORGED, plan_ladder(FORGED), tools, on_progress=ignore, limits=limits
    )
    assert result.duration_ms <= 2100
    assert result.total_bytes < 100_000


async def test_a_name_that_looks_like_a_url_or_an_option_is_only_a_file(
    studio: Any, tools: FfmpegTools, tmp_path: Path
) -> None:
    clip = studio.clip("silent.mp4", sound=False).read_bytes()
    for name in ("-i.mp4", "http:x.mp4", "%05d.mp4", "a b'c;d[e],f=g\\h.mp4"):
        path = tmp_path / name
        path.write_bytes(clip)
        info = await probe(path, ProbeLimits(), tools)

        async def ignore(percent: int) -> None:
            del percent

        out = tmp_path / "out" / str(len(name))
        await run_ladder(path, out, info, plan_ladder(info), tools, on_progress=ignore, limits=EncodeLimits())
