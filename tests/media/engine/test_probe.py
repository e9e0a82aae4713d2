"""What the probe tells of a good file, and how it refuses a bad one."""

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from media_svc.transcode.engine.errors import MediaRejected, RejectCode
from media_svc.transcode.engine.probe import ProbeLimits, probe
from media_svc.transcode.engine.tools import FfmpegTools


async def rejected(path: Path, tools: FfmpegTools) -> MediaRejected:
    with pytest.raises(MediaRejected) as caught:
        await probe(path, ProbeLimits(), tools)
    return caught.value


async def test_portrait_clip_with_sound(studio: Any, tools: FfmpegTools) -> None:
    info = await probe(studio.clip("plain.mp4", "360x640"), ProbeLimits(), tools)
    assert (info.width, info.height, info.rotation, info.container) == (360, 640, 0, "mp4")
    assert (info.duration_ms, info.fps, info.variable_frame_rate) == (1000, Fraction(30), False)
    assert (info.has_audio, info.video_codec, info.audio_codec) == (True, "h264", "aac")
    assert info.size_bytes == studio.clip("plain.mp4").stat().st_size


async def test_no_sound(studio: Any, tools: FfmpegTools) -> None:
    info = await probe(studio.clip("silent.mp4", sound=False), ProbeLimits(), tools)
    assert (info.has_audio, info.audio_codec, info.audio_index) == (False, None, None)


@pytest.mark.parametrize("kind", ["mov", "mkv", "webm"])
async def test_other_accepted_containers(studio: Any, tools: FfmpegTools, kind: str) -> None:
    options = ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus") if kind == "webm" else ()
    info = await probe(studio.clip(f"kind.{kind}", "64x96", options=options), ProbeLimits(), tools)
    assert info.container == ("mp4" if kind == "mov" else "matroska")
    assert (info.width, info.height, info.has_audio) == (64, 96, True)
    assert 950 <= info.duration_ms <= 1100


async def test_rotated_phone_video_is_told_upright(studio: Any, tools: FfmpegTools) -> None:
    plain = studio.clip("landscape.mp4", "320x180")
    path = studio.ffmpeg("rotated.mp4", "-display_rotation", "90", "-i", str(plain), "-c", "copy")
    info = await probe(path, ProbeLimits(), tools)
    assert (info.width, info.height, info.rotation) == (180, 320, 90)


async def test_pixels_that_are_not_square_are_told_as_seen(studio: Any, tools: FfmpegTools) -> None:
    path = studio.clip("anamorphic.mp4", "180x240", sound=False, video_filter="setsar=4/3")
    info = await probe(path, ProbeLimits(), tools)
    assert (info.width, info.height) == (240, 240)


async def test_variable_frame_rate_is_seen_and_its_usual_rate_told(studio: Any, tools: FfmpegTools) -> None:
    path = studio.clip("vfr.mp4", seconds=2, video_filter="select='lt(t,1)+not(mod(n,4))'")
    info = await probe(path, ProbeLimits(), tools)
    assert info.variable_frame_rate
    assert info.fps == 30


async def test_millisecond_rounding_of_mkv_is_not_a_variable_rate(studio: Any, tools: FfmpegTools) -> None:
    info = await probe(studio.clip("rounded.mkv", "64x64", fps="30000/1001"), ProbeLimits(), tools)
    assert not info.variable_frame_rate
    assert abs(info.fps - Fraction(30000, 1001)) < Fraction(1, 10)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", RejectCode.EMPTY),
        (b"Dear diary, this is no video.\n" * 40, RejectCode.NOT_A_VIDEO),
        (random.Random(7).randbytes(50_000), RejectCode.NOT_A_VIDEO),
        (b"\0" * 4096, RejectCode.NOT_A_VIDEO),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 500, RejectCode.NOT_A_VIDEO),
        (b"RIFF\x00\x10\x00\x00AVI LIST" + b"\0" * 500, RejectCode.UNSUPPORTED),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + random.Random(8).randbytes(5_000), RejectCode.CORRUPT),
        (b"\x1a\x45\xdf\xa3" + random.Random(9).randbytes(5_000), RejectCode.CORRUPT),
    ],
    ids=["zero-bytes", "text", "random", "zeros", "image", "avi", "mp4-header-only", "mkv-header-only"],
)
async def test_what_is_no_video_is_refused(studio: Any, tools: FfmpegTools, content: bytes, code: RejectCode) -> None:
    error = await rejected(studio.data("bad.mp4", content), tools)
    assert error.code is code
    assert error.message.endswith(".") and "av." not in error.message


async def test_sound_alone_and_sound_with_a_cover_have_no_video(studio: Any, tools: FfmpegTools) -> None:
    sound = studio.ffmpeg("sound.m4a", "-f", "lavfi", "-i", "sine=440:d=1", "-c:a", "aac")
    assert (await rejected(sound, tools)).code is RejectCode.NO_VIDEO_STREAM
    cover = studio.ffmpeg("cover.png", "-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1")
    covered = studio.ffmpeg(
        "covered.m4a", "-i", str(sound), "-i", str(cover), "-map", "0", "-map", "1", "-c", "copy",
        "-disposition:v:0", "attached_pic",
    )  # fmt: skip
    assert (await rejected(covered, tools)).code is RejectCode.NO_VIDEO_STREAM


async def test_ten_minutes_are_too_long_and_the_message_names_limit_and_value(studio: Any, tools: FfmpegTools) -> None:
    path = studio.clip("long.mp4", "64x64", 600, "1", sound=False)
    error = await rejected(path, tools)
    assert error.code is RejectCode.TOO_LONG
    assert error.message == "The video is 600 s long; the limit is 180 s."


async def test_two_frames_ten_hours_apart_are_too_long_by_their_timestamps(studio: Any, tools: FfmpegTools) -> None:
    path = studio.clip("hours.mp4", "64x64", 2, "1", sound=False, video_filter="setpts=N*36000/TB")
    assert path.stat().st_size < 20_000
    error = await rejected(path, tools)
    assert error.code is RejectCode.TOO_LONG
    assert error.message == "The video is 36001 s long; the limit is 180 s."


async def test_a_header_that_lies_about_the_length_does_not_help(studio: Any, tools: FfmpegTools) -> None:
    path = studio.clip("lying.mkv", "64x64", 200, "1", sound=False)
    data = path.read_bytes()
    at = data.index(b"\x44\x89\x88") + 3  # Duration, an 8-byte float in milliseconds
    one_second = bytes.fromhex("408f400000000000")
    error = await rejected(studio.data("lies.mkv", data[:at] + one_second + data[at + 8 :]), tools)
    assert error.code is RejectCode.TOO_LONG


async def test_a_hundred_megapixels_are_refused(studio: Any, tools: FfmpegTools) -> None:
    path = studio.ffmpeg(
        "huge.mov", "-f", "lavfi", "-i", "color=black:s=10000x10000:r=1:d=1,format=monob",
        "-c:v", "png", "-frames:v", "1",
    )  # fmt: skip
    error = await rejected(path, tools)
    assert error.code is RejectCode.TOO_MANY_PIXELS
    assert "10000x10000" in error.message and "16 megapixels" in error.message


async def test_a_video_too_small_to_encode_is_refused(studio: Any, tools: FfmpegTools) -> None:
    error = await rejected(studio.clip("dot.mp4", "8x64", sound=False), tools)
    assert error.code is RejectCode.UNSUPPORTED
    assert "8x64" in error.message


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
@pytest.mark.parametrize(
    ("name", "options"),
    [("tail.mp4", ()), ("tail-faststart.mp4", ("-movflags", "faststart")), ("tail.mkv", ())],
)
async def test_a_cut_file_is_damaged(
    studio: Any, tools: FfmpegTools, name: str, options: tuple[str, ...], kept: float
) -> None:
    whole = studio.clip(name, "96x160", options=options).read_bytes()
    error = await rejected(studio.data(f"cut-{name}", whole[: int(len(whole) * kept)]), tools)
    assert error.code is RejectCode.CORRUPT
    assert "damaged" in error.message


async def test_a_file_over_the_size_limit_is_refused(studio: Any, tools: FfmpegTools) -> None:
    with pytest.raises(MediaRejected, match="the limit is 1000 bytes") as caught:
        await probe(studio.clip("plain.mp4", "360x640"), ProbeLimits(max_size_bytes=1000), tools)
    assert caught.value.code is RejectCode.TOO_LARGE
