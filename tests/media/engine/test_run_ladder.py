"""What comes out of real clips: playable, aligned, honestly described."""

import asyncio
import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import m3u8
import pytest

from media_svc.transcode.engine.errors import RejectCode, TranscodeFailed
from media_svc.transcode.engine.ladder import plan_ladder
from media_svc.transcode.engine.probe import ProbeLimits, probe
from media_svc.transcode.engine.runner import EncodeLimits, LadderResult, run_ladder
from media_svc.transcode.engine.tools import FfmpegTools

Encode = Callable[[Path], tuple[Path, LadderResult]]


@pytest.fixture(scope="session")
def ladder(studio: Any, encode: Encode) -> tuple[Path, LadderResult]:
    """A clip of two renditions that is long enough for three segments."""
    return encode(studio.clip("three.mp4", "720x960", 4.5))


def joined(folder: Path) -> Path:
    """Initialisation and segments in one file, as a player sees them."""
    path = folder / "joined.mp4"
    parts = [folder / "init.mp4", *sorted(folder.glob("s*.m4s"))]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def keyframe_times(folder: Path) -> list[float]:
    path = joined(folder)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
    path.unlink()
    start = min(packet.pts for packet in packets if packet.pts is not None)
    keys = [packet.pts for packet in packets if packet.is_keyframe and packet.pts is not None]
    return [round(float((pts - start) * packets[0].time_base), 3) for pts in keys]


def picture(path: Path) -> tuple[int, int]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return frame.width, frame.height


def shape(result: LadderResult) -> list[tuple[int, int]]:
    return [(one.width, one.height) for one in result.renditions]


def test_all_files_are_there_and_listed_with_their_sizes(ladder: tuple[Path, LadderResult]) -> None:
    out, result = ladder
    assert shape(result) == [(720, 960), (360, 480)]
    assert {file.path for file in result.files} == {
        str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()
    }
    assert result.total_bytes == sum((out / file.path).stat().st_size for file in result.files)
    for name in ("master.m3u8", "v720/init.mp4", "v360/s00002.m4s", "audio/index.m3u8", result.poster, *result.stills):
        assert (out / name).stat().st_size > 0
    assert abs(result.duration_ms - 4500) <= 40
    assert picture(out / result.poster) == (720, 960) == (result.picture_width, result.picture_height)
    assert len({(out / still).read_bytes() for still in result.stills}) == 3


def test_keyframes_fall_every_two_seconds_on_all_renditions(ladder: tuple[Path, LadderResult]) -> None:
    out, result = ladder
    for rendition in result.renditions:
        assert keyframe_times(out / rendition.name) == [0.0, 2.0, 4.0]


def test_master_playlist_says_what_was_measured(ladder: tuple[Path, LadderResult]) -> None:
    out, result = ladder
    master = m3u8.load(str(out / "master.m3u8"))
    assert [item.uri for item in master.playlists] == ["v720/index.m3u8", "v360/index.m3u8"]
    assert (master.version, master.is_independent_segments) == (7, True)
    [sound] = master.media
    assert (sound.type, sound.uri, sound.group_id, sound.channels) == ("AUDIO", "audio/index.m3u8", "audio", "2")
    for item, rendition in zip(master.playlists, result.renditions, strict=True):
        info = item.stream_info
        assert info.resolution == (rendition.width, rendition.height)
        assert (info.codecs, info.audio, info.frame_rate) == (f"{rendition.codec},mp4a.40.2", "audio", 30)
        peak = sum(peak_of(out / name) for name in (rendition.name, "audio"))
        assert peak * 0.9 <= info.bandwidth <= peak * 1.1
        assert info.average_bandwidth <= info.bandwidth
        assert rendition.bitrate_kbps == round(info.average_bandwidth / 1000)


def peak_of(folder: Path) -> float:
    """The largest rate of a whole segment of 1 s or more, alone or with the short one that ends the clip."""
    playlist = m3u8.load(str(folder / "index.m3u8"))
    rates: list[float] = [
        (folder / segment.uri).stat().st_size * 8 / segment.duration
        for segment in playlist.segments
        if segment.duration >= 1
    ]
    return max(rates)


def test_media_playlists_are_finished_relative_and_decodable_from_any_segment(
    ladder: tuple[Path, LadderResult],
) -> None:
    out, _ = ladder
    for folder in ("v720", "v360", "audio"):
        text = (out / folder / "index.m3u8").read_text()
        for tag in ("VERSION:7", "PLAYLIST-TYPE:VOD", "INDEPENDENT-SEGMENTS", 'MAP:URI="init.mp4"', "ENDLIST"):
            assert f"#EXT-X-{tag}" in text
        assert "://" not in text and "/" not in text.replace("#EXT-X-", "")


def test_ffmpeg_reads_every_variant_and_the_sound_without_a_warning(
    ladder: tuple[Path, LadderResult], tools: FfmpegTools
) -> None:
    out, _ = ladder
    everything = [str(tools.ffmpeg), "-v", "warning", "-i", "master.m3u8", "-map", "0", "-f", "null", "-"]
    ended = subprocess.run(everything, cwd=out, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stderr + ended.stdout == ""
    for folder in ("v720", "v360", "audio"):
        alone = [str(tools.ffmpeg), "-v", "warning", "-i", f"{folder}/index.m3u8", "-f", "null", "-"]
        ended = subprocess.run(alone, cwd=out, capture_output=True, text=True, timeout=60, check=True)
        assert ended.stderr + ended.stdout == ""


def test_no_sound_gives_video_only(studio: Any, encode: Encode) -> None:
    out, result = encode(studio.clip("silent.mp4", sound=False))
    master = m3u8.load(str(out / "master.m3u8"))
    assert not result.has_audio and not master.media and not (out / "audio").exists()
    assert master.playlists[0].stream_info.codecs == result.renditions[0].codec
    assert master.playlists[0].stream_info.audio is None


def test_odd_dimensions_become_even(studio: Any, encode: Encode) -> None:
    path = studio.clip("odd.mp4", "181x321", options=("-pix_fmt", "yuv444p"))
    _, result = encode(path)
    assert shape(result) == [(180, 320)]


def test_a_tiny_video_keeps_its_own_size(studio: Any, encode: Encode) -> None:
    _, result = encode(studio.clip("tiny.mp4", "64x96"))
    assert shape(result) == [(64, 96)]
    assert [one.name for one in result.renditions] == ["v64"]


def test_rotated_phone_video_comes_out_upright(studio: Any, encode: Encode) -> None:
    plain = studio.clip("landscape.mp4", "320x180")
    path = studio.ffmpeg("rotated.mp4", "-display_rotation", "90", "-i", str(plain), "-c", "copy")
    out, result = encode(path)
    assert shape(result) == [(180, 320)]
    assert picture(out / result.poster) == (180, 320)


def test_variable_frame_rate_comes_out_steady(studio: Any, encode: Encode) -> None:
    path = studio.clip("vfr.mp4", seconds=2, video_filter="select='lt(t,1)+not(mod(n,4))'")
    out, result = encode(path)
    assert abs(result.duration_ms - 2000) <= 150
    with av.open(str(joined(out / "v180"))) as container:
        times = sorted(float(packet.pts * packet.time_base) for packet in container.demux() if packet.pts is not None)
    gaps = {round(later - earlier, 3) for earlier, later in itertools.pairwise(times)}
    assert gaps <= {0.033, 0.034}


def test_a_slide_show_has_a_keyframe_at_each_segment(studio: Any, encode: Encode) -> None:
    out, result = encode(studio.clip("slides.mp4", "64x96", 5, "1"))
    assert abs(result.duration_ms - 5000) <= 100
    assert keyframe_times(out / "v64") == [0.0, 2.0, 4.0]


def test_a_single_frame_with_long_sound_lasts_as_long_as_the_sound(studio: Any, encode: Encode) -> None:
    tone = studio.ffmpeg("tone.m4a", "-f", "lavfi", "-i", "sine=440:d=3", "-c:a", "aac")
    still = studio.clip("one.mp4", "64x96", 0.1, "10", sound=False)
    path = studio.ffmpeg("still-and-sound.mp4", "-i", str(still), "-i", str(tone), "-c", "copy")
    _, result = encode(path)
    assert abs(result.duration_ms - 3000) <= 150


def test_full_range_and_ten_bit_sources_become_plain_8_bit(studio: Any, encode: Encode) -> None:
    path = studio.clip("ten.mp4", "64x96", options=("-pix_fmt", "yuv420p10le", "-color_range", "pc"))
    out, _ = encode(path)
    with av.open(str(joined(out / "v64"))) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.profile) == ("yuv420p", "High")


async def test_progress_grows_to_a_hundred(studio: Any, tools: FfmpegTools, tmp_path: Path) -> None:
    source = studio.clip("three.mp4", "720x960", 4.5)
    info = await probe(source, ProbeLimits(), tools)
    seen: list[int] = []

    async def note(percent: int) -> None:
        seen.append(percent)

    await run_ladder(
        source, tmp_path, info, plan_ladder(info), tools, on_progress=note, limits=EncodeLimits(), threads=2
    )
    assert seen == sorted(set(seen)) and seen[-1] == 100
    assert all(0 <= percent <= 100 for percent in seen)


async def test_a_video_whose_end_does_not_decode_is_damaged(studio: Any, tools: FfmpegTools, tmp_path: Path) -> None:
    whole = studio.clip("garbled.mp4", "96x160", 2, options=("-movflags", "faststart")).read_bytes()
    kept = int(len(whole) * 0.8)
    source = studio.data("garbled-tail.mp4", whole[:kept] + bytes(len(whole) - kept))
    info = await probe(source, ProbeLimits(), tools)

    async def ignore(percent: int) -> None:
        del percent

    with pytest.raises(TranscodeFailed) as caught:
        await run_ladder(source, tmp_path, info, plan_ladder(info), tools, on_progress=ignore, limits=EncodeLimits())
    assert (caught.value.retryable, caught.value.code) == (False, RejectCode.CORRUPT)
    assert "damaged" in caught.value.message and "h264" not in caught.value.message
    assert not (tmp_path / "master.m3u8").exists()


async def test_a_folder_that_holds_something_is_not_written_to(studio: Any, tools: FfmpegTools, tmp_path: Path) -> None:
    source = studio.clip("silent.mp4", sound=False)
    info = await probe(source, ProbeLimits(), tools)
    (tmp_path / "old").write_text("left by another run")

    async def ignore(percent: int) -> None:
        del percent

    with pytest.raises(FileExistsError):
        await run_ladder(source, tmp_path, info, plan_ladder(info), tools, on_progress=ignore, limits=EncodeLimits())


def test_a_single_frame_becomes_half_a_second(studio: Any, encode: Encode) -> None:
    out, result = encode(studio.clip("frame.mp4", "64x96", 0.04, "25", sound=False))
    assert 400 <= result.duration_ms <= 700
    assert picture(out / result.stills[2]) == (64, 96)


def test_a_frame_of_exactly_the_limit_is_accepted(studio: Any, tools: FfmpegTools) -> None:
    source = studio.clip("square.mp4", "1000x1000", 0.1, "10", sound=False)
    info = asyncio.run(probe(source, ProbeLimits(max_frame_pixels=1_000_000), tools))
    assert (info.width, info.height) == (1000, 1000)
