"""The ffmpeg commands of a job, as lists of arguments. Nothing is run here.

One decode feeds all: the picture is made upright, steady and as large as the largest rendition, and each
smaller one is scaled from the one above it. Poster and stills are taken from the finished output by a second, short
command: as further outputs of the first they would make ffmpeg hold all frames in between in memory.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from media_svc.transcode.engine.faults import FORMAT_WHITELIST, decoder_pixels
from media_svc.transcode.engine.ladder import SEGMENT_S, START_SIDE, Rendition, output_fps
from media_svc.transcode.engine.probe import MediaInfo
from media_svc.transcode.engine.tools import FfmpegTools

AUDIO = "audio"
MEDIA_PLAYLIST = "index.m3u8"
POSTER = "poster.jpg"
STILLS = ("still-1.jpg", "still-2.jpg", "still-3.jpg")
_STILL_AT = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))
_POSTER_WINDOW = 15
SHORTEST_MS = 500
_AUDIO_KBPS = 128
_AUDIO_HZ = 48_000
_AAC_FRAME = 1_024
# Composition offsets below zero let the first picture be shown at 0 without an edit list, which browsers
# ignore.
_MOVFLAGS = "+frag_custom+dash+delay_moov+negative_cts_offsets"
_TONE_MAP = ("bt709", "hable")


def build_command(
    source: Path,
    info: MediaInfo,
    renditions: Sequence[Rendition],
    tools: FfmpegTools,
    *,
    max_duration_ms: int,
    max_pixels: int,
    threads: int,
) -> list[str]:
    """Arguments for a child whose working directory is the output folder; the folders of the renditions
    exist.

    `renditions`: the largest first, at least one. Progress goes to stdout in ffmpeg's key=value lines.
    """
    media = ffmpeg.input(
        f"file:{source.absolute()}",
        format=info.demuxer,
        protocol_whitelist="file,pipe",
        format_whitelist=FORMAT_WHITELIST,
        max_pixels=decoder_pixels(max_pixels),
        threads=threads,
        # One second over the limit: what lies about its length is cut, and the inspection then refuses it.
        t=f"{max_duration_ms / 1000 + 1:g}",
    )
    fps = output_fps(info)
    steady = _steady(media, info, renditions[0], fps, tools, max_duration_ms)
    outputs = [
        _video_output(stream, rendition, fps, threads)
        for stream, rendition in zip(_cascade(steady, renditions), renditions, strict=True)
    ]
    if info.has_audio:
        outputs.append(_audio_output(media, info))
    compiled: list[str] = ffmpeg.merge_outputs(*outputs).compile(cmd=[str(tools.ffmpeg), *_global()])
    return compiled


def build_pictures_command(rendition: Rendition, duration_ms: int, tools: FfmpegTools) -> list[str]:
    """Poster and stills from a finished rendition, run in the output folder; its files are our own."""
    poster_at = min(Fraction(1), Fraction(duration_ms, 3000))
    times = [poster_at, *(share * Fraction(duration_ms, 1000) for share in _STILL_AT)]
    outputs = []
    for name, at in zip((POSTER, *STILLS), times, strict=True):
        playlist = ffmpeg.input(
            f"{rendition.name}/{MEDIA_PLAYLIST}",
            # Within the first frames there is nothing to seek to.
            ss=f"{float(at) if duration_ms > SHORTEST_MS else 0:.3f}",
            protocol_whitelist="file",
            format_whitelist="hls,mov,mp4",
            threads=1,
        )
        # The most typical of half a second of frames, so that the poster is not a flash or a fade.
        frames = playlist["v"].filter("thumbnail", _POSTER_WINDOW) if name == POSTER else playlist["v"]
        outputs.append(_picture(frames, name))
    compiled: list[str] = ffmpeg.merge_outputs(*outputs).compile(cmd=[str(tools.ffmpeg), *_global()])
    return compiled


def picture_rendition(renditions: Sequence[Rendition]) -> Rendition:
    """The rendition whose frames become poster and stills: 720 or the largest below it, else the smallest."""
    descending = sorted(renditions, key=lambda rendition: rendition.short_side, reverse=True)
    return next((one for one in descending if one.short_side <= START_SIDE), descending[-1])


def _global() -> list[str]:
    # `repeat` keeps every warning on a line of its own: the runner counts frames that did not decode.
    words = "-nostdin -hide_banner -y -loglevel repeat+level+warning -progress pipe:1 -stats_period 0.5 -nostats"
    return [*words.split(), "-filter_complex_threads", "1"]


def _steady(
    media: Any, info: MediaInfo, largest: Rendition, fps: Fraction, tools: FfmpegTools, max_duration_ms: int
) -> Any:
    """Frames at a constant rate from time 0, in the size of the largest rendition, 8 bit, studio range."""
    video = media[str(info.video_index)].filter("fps", fps=_ratio(fps), start_time=0, eof_action="pass")
    # A frame's own duration can be hours: without an end the filter before would repeat it that long.
    video = video.filter("trim", duration=f"{max_duration_ms + 1000}ms")
    missing_ms = _whole_ms(info) - info.video_ms
    if missing_ms > 0:
        video = video.filter("tpad", stop_mode="clone", stop_duration=f"{missing_ms}ms")
    video = video.filter("scale", largest.width, largest.height, flags="bicubic", out_range="tv")
    if info.hdr and {"zscale", "tonemap"} <= tools.filters:
        video = _tone_mapped(video)
    return video.filter("format", pix_fmts="yuv420p", color_ranges="tv").filter("setsar", 1)


def _whole_ms(info: MediaInfo) -> int:
    """How long picture and sound are made: as the longer of the two, and never a blink that no player can loop."""
    return max(info.duration_ms, SHORTEST_MS)


def _tone_mapped(video: Any) -> Any:
    """High dynamic range to the standard one; without it such a video looks washed out everywhere."""
    primaries, curve = _TONE_MAP
    return (
        video.filter("zscale", t="linear", npl=100)
        .filter("format", "gbrpf32le")
        .filter("zscale", p=primaries)
        .filter("tonemap", curve, desat=0)
        .filter("zscale", t=primaries, m=primaries, r="tv")
    )


def _cascade(video: Any, renditions: Sequence[Rendition]) -> list[Any]:
    """One stream a rendition, each scaled from the one above."""
    streams = []
    for rendition in renditions[1:]:
        copy, below = _split(video)
        streams.append(copy)
        video = below.filter("scale", rendition.width, rendition.height, flags="bicubic").filter("setsar", 1)
    return [*streams, video]


def _split(video: Any) -> tuple[Any, Any]:
    node = video.filter_multi_output("split", 2)
    return node.stream(0), node.stream(1)


def _video_output(stream: Any, rendition: Rendition, fps: Fraction, threads: int) -> Any:
    options: dict[str, Any] = {
        "c:v": "libx264",
        "preset": "veryfast",
        "profile:v": "high",
        "crf": rendition.crf,
        "maxrate": f"{rendition.max_kbps}k",
        "bufsize": f"{rendition.max_kbps}k",
        # Only the forced keyframes: the encoder's own would fall differently in each rendition.
        "g": round(fps * SEGMENT_S * 2),
        "sc_threshold": 0,
        "force_key_frames": f"expr:gte(t,n_forced*{SEGMENT_S})",
        "pix_fmt": "yuv420p",
        "fps_mode": "passthrough",
        "threads": threads,
    }
    return _segments(stream, rendition.name, options)


def _audio_samples(whole_ms: int) -> int:
    """Samples that end with the picture, the encoder's priming frame counted in.

    One frame more would begin a segment that no picture goes with, and hls.js stalls before it.
    """
    return max(whole_ms * _AUDIO_HZ // 1000 // _AAC_FRAME - 1, 1) * _AAC_FRAME


def _audio_output(media: Any, info: MediaInfo) -> Any:
    """Sound without gaps, from time 0, as long as the whole. Its filters are of this output alone, a graph of
    their own: in the picture's graph, frames would pile up there while sound is waited for."""
    samples = _audio_samples(_whole_ms(info))
    even = f"aresample={_AUDIO_HZ}:async=1:first_pts=0,apad=whole_len={samples},atrim=end_sample={samples}"
    options = {"af": even, "c:a": "aac", "b:a": f"{_AUDIO_KBPS}k", "ac": 2, "ar": _AUDIO_HZ}
    return _segments(media[str(info.audio_index)], AUDIO, options)


def _segments(stream: Any, folder: str, options: dict[str, Any]) -> Any:
    hls = {
        "f": "hls",
        "hls_time": SEGMENT_S,
        "hls_list_size": 0,
        "hls_playlist_type": "vod",
        "hls_segment_type": "fmp4",
        "hls_flags": "independent_segments",
        "hls_fmp4_init_filename": "init.mp4",
        "hls_segment_filename": f"{folder}/s%05d.m4s",
        "hls_segment_options": f"movflags={_MOVFLAGS}",
        "avoid_negative_ts": "disabled",
        "map_metadata": -1,
    }
    return ffmpeg.output(stream, f"{folder}/{MEDIA_PLAYLIST}", **options, **hls)


def _picture(stream: Any, name: str) -> Any:
    full_range = stream.filter("scale", out_range="pc").filter("format", pix_fmts="yuv420p", color_ranges="pc")
    options = {
        "f": "image2",
        "c:v": "mjpeg",
        "q:v": 3,
        "frames:v": 1,
        "update": 1,
        "map_metadata": -1,
        "threads": 1,
    }
    return ffmpeg.output(full_range, name, **options)


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"
