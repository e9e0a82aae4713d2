"""Is this file an acceptable video, and what is in it?"""

import asyncio
import json
import math
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from media_svc.transcode.engine.errors import MediaRejected, RejectCode, TranscodeFailed
from media_svc.transcode.engine.faults import Fault
from media_svc.transcode.engine.process import ChildLimits, Finished, run_limited
from media_svc.transcode.engine.tools import FfmpegTools

_CHILD = "media_svc.transcode.engine.probe_child"
_IMPORT_ROOT = Path(__file__).resolve().parents[3]
_SHORTEST_SIDE = 16
_ACCEPTED = "MP4, MOV, WebM and MKV videos are accepted"
_CONTAINER_NAMES = {"mov": "mp4", "matroska": "matroska"}
_HDR_TRANSFERS = frozenset({16, 18})  # SMPTE 2084 (PQ) and ARIB STD-B67 (HLG), ISO/IEC 23091-2


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """What is accepted, and what examining it may cost."""

    max_duration_ms: int = 180_000
    max_frame_pixels: int = 16_000_000
    max_size_bytes: int = 2 << 30
    cpu_s: int = 60
    memory_bytes: int = 2 << 30
    wall_s: float = 120.0


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """An acceptable video. Width and height are as seen (upright, square pixels); `rotation` is what was
    undone.

    `duration_ms` is the longer of picture and sound, `video_ms` the picture's, both from packets and not
    from a header; `fps` is the nominal rate, 0 for a single frame. `container` is `mp4` (mov too) or
    `matroska` (WebM too).
    """

    duration_ms: int
    video_ms: int
    width: int
    height: int
    rotation: int
    fps: Fraction
    variable_frame_rate: bool
    has_audio: bool
    video_codec: str
    audio_codec: str | None
    container: str
    size_bytes: int
    video_index: int
    audio_index: int | None
    hdr: bool = False

    @property
    def short_side(self) -> int:
        return min(self.width, self.height)

    @property
    def demuxer(self) -> str:
        """ffmpeg's name for the container."""
        return "mov" if self.container == "mp4" else self.container


async def probe(path: Path, limits: ProbeLimits, tools: FfmpegTools) -> MediaInfo:
    """Examines a local file in a limited child; nothing else is opened, and no frame over the limit is
    decoded.

    Raises `MediaRejected` when the file is no acceptable video, and `TranscodeFailed` (retryable) when the
    child could not do its work. `tools` says what can be decoded later; the probe itself needs no ffmpeg
    program.
    """
    path = await asyncio.to_thread(path.resolve)
    size = (await asyncio.to_thread(path.stat)).st_size
    if size > limits.max_size_bytes:
        raise MediaRejected(
            RejectCode.TOO_LARGE, f"The file has {size} bytes; the limit is {limits.max_size_bytes} bytes."
        )
    facts = await _facts(path, limits)
    if "fault" in facts:
        raise _rejection(Fault(facts["fault"]), facts, limits)
    info = _info(facts)
    _check_shape(info, limits)
    return info


async def _facts(path: Path, limits: ProbeLimits) -> dict[str, Any]:
    lines: list[str] = []

    async def keep(line: str) -> None:
        lines.append(line)

    arguments = [str(path), str(limits.max_duration_ms), str(limits.max_frame_pixels)]
    ended = await run_limited(
        [sys.executable, "-m", _CHILD, *arguments],
        ChildLimits(limits.cpu_s, limits.memory_bytes, file_bytes=0, wall_s=limits.wall_s),
        extra_env={"PYTHONPATH": str(_IMPORT_ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        on_stdout=keep,
    )
    if ended.returncode == 0 and lines:
        facts: dict[str, Any] = json.loads(lines[-1])
        return facts
    raise _child_failure(ended)


def _child_failure(ended: Finished) -> Exception:
    if ended.timed_out:
        return TranscodeFailed(True, "The video could not be examined in time.", detail=ended.stderr_tail)
    if ended.returncode < 0 or "MemoryError" in ended.stderr_tail:
        # Killed by its own limits or by a fault in a decoder: these bytes do that again each time.
        return MediaRejected(RejectCode.CORRUPT, "The video is damaged: it cannot be read.")
    return TranscodeFailed(True, "The video could not be examined.", detail=ended.stderr_tail)


def _rejection(fault: Fault, facts: dict[str, Any], limits: ProbeLimits) -> MediaRejected:
    if fault is Fault.TOO_LONG:
        # Rounded up: what is a little too long must not be told as long as the limit.
        seconds = math.ceil(max(facts["duration_ms"], facts.get("header_ms", 0)) / 100) / 10
        limit = limits.max_duration_ms / 1000
        return MediaRejected(RejectCode.TOO_LONG, f"The video is {seconds:.10g} s long; the limit is {limit:g} s.")
    if fault is Fault.TOO_MANY_PIXELS:
        return _too_many_pixels(facts["coded_width"], facts["coded_height"], limits)
    if fault is Fault.UNKNOWN_KIND and facts.get("other"):
        return MediaRejected(RejectCode.UNSUPPORTED, f"This is a file of the kind {facts['other']}; {_ACCEPTED}.")
    code, message = _PLAIN[fault]
    return MediaRejected(code, message)


_PLAIN: dict[Fault, tuple[RejectCode, str]] = {
    Fault.EMPTY: (RejectCode.EMPTY, "The file is empty: it has 0 bytes."),
    Fault.UNKNOWN_KIND: (RejectCode.NOT_A_VIDEO, f"The file is not a video; {_ACCEPTED}."),
    Fault.INDEX_MISSING: (
        RejectCode.CORRUPT,
        "The video is damaged: its index is missing, as when a recording or a copy stopped early.",
    ),
    Fault.CUT: (RejectCode.CORRUPT, "The video is damaged: the file ends before the video does."),
    Fault.DAMAGED_PACKET: (RejectCode.CORRUPT, "The video is damaged: the file ends before the video does."),
    Fault.UNREADABLE: (RejectCode.CORRUPT, "The video is damaged: it cannot be read."),
    Fault.UNDECODABLE: (RejectCode.CORRUPT, "The video is damaged: no picture in it can be decoded."),
    Fault.NO_VIDEO: (RejectCode.NO_VIDEO_STREAM, "The file has no moving picture in it."),
    Fault.NO_DECODER: (RejectCode.UNSUPPORTED, "The video's format inside the file is not known here."),
    Fault.TOO_MANY_PACKETS: (RejectCode.UNSUPPORTED, "The video has more than 400000 packets, the limit."),
}


def _info(facts: dict[str, Any]) -> MediaInfo:
    width, height = _seen_size(facts)
    return MediaInfo(
        duration_ms=facts["duration_ms"],
        video_ms=facts["video_ms"],
        width=width,
        height=height,
        rotation=facts["rotation"],
        fps=Fraction(facts["fps"]),
        variable_frame_rate=facts["variable"],
        has_audio=facts["has_audio"],
        video_codec=facts["video_codec"],
        audio_codec=facts["audio_codec"] if facts["has_audio"] else None,
        container=_CONTAINER_NAMES[facts["container"]],
        size_bytes=facts["size_bytes"],
        video_index=facts["video_index"],
        audio_index=facts["audio_index"] if facts["has_audio"] else None,
        hdr=facts["transfer"] in _HDR_TRANSFERS,
    )


def _seen_size(facts: dict[str, Any]) -> tuple[int, int]:
    aspect = Fraction(facts["pixel_aspect"])
    width, height = facts["width"], facts["height"]
    # A shape of pixels beyond 4:1 is a damaged header, not a camera.
    if Fraction(1, 4) <= aspect <= 4:
        width = round(width * aspect)
    return (height, width) if facts["rotation"] in (90, 270) else (width, height)


def _check_shape(info: MediaInfo, limits: ProbeLimits) -> None:
    if info.width * info.height > limits.max_frame_pixels:
        raise _too_many_pixels(info.width, info.height, limits)
    if info.short_side < _SHORTEST_SIDE:
        raise MediaRejected(
            RejectCode.UNSUPPORTED,
            f"The video is {info.width}x{info.height} pixels; the least is {_SHORTEST_SIDE} on either side.",
        )


def _too_many_pixels(width: int, height: int, limits: ProbeLimits) -> MediaRejected:
    pixels, limit = width * height / 1e6, limits.max_frame_pixels / 1e6
    return MediaRejected(
        RejectCode.TOO_MANY_PIXELS,
        f"A frame has {width}x{height} = {pixels:.4g} megapixels; the limit is {limit:g} megapixels.",
    )
