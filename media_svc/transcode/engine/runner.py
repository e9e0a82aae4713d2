"""Runs a job's ffmpeg, one child at a time, and turns what comes out into a finished folder."""

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from media_svc.transcode.engine.command import (
    AUDIO,
    POSTER,
    STILLS,
    build_command,
    build_pictures_command,
    picture_rendition,
)
from media_svc.transcode.engine.errors import OutputInvalid, RejectCode, TranscodeFailed
from media_svc.transcode.engine.inspect import verify_output
from media_svc.transcode.engine.ladder import Rendition, output_fps
from media_svc.transcode.engine.playlists import MASTER, Track, finish_media_playlist, measure, write_master
from media_svc.transcode.engine.probe import MediaInfo
from media_svc.transcode.engine.process import ChildLimits, Finished, run_limited
from media_svc.transcode.engine.tools import FfmpegTools

OnProgress = Callable[[int], Awaitable[None]]

_DAMAGED = "The video is damaged: a part of it cannot be decoded."
_UNSOUND = "The converted video did not pass inspection."
_BROKEN_FRAME = re.compile(
    "Error submitting packet to decoder|corrupt decoded frame|corrupt input packet|Error while decoding"
)
# A glitch in one frame happens in good recordings; a broken end spoils every frame from there on.
_BROKEN_FRAMES_ALLOWED = 5
_SHORTER_ALLOWED_MS = 500


@dataclass(frozen=True, slots=True)
class EncodeLimits:
    """What one job's child may use, and what it reads at most whatever the probe said."""

    max_duration_ms: int = 180_000
    max_frame_pixels: int = 16_000_000
    cpu_s: int = 3_600
    memory_bytes: int = 6 << 30
    file_bytes: int = 1 << 30
    wall_s: float = 3_600.0


@dataclass(frozen=True, slots=True)
class RenditionResult:
    """One finished rendition. Rates are measured over picture and sound: average and peak, in kbit/s."""

    name: str
    width: int
    height: int
    codec: str
    bitrate_kbps: int
    peak_kbps: int


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file of the output, its path relative to the folder."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LadderResult:
    """A finished, inspected folder. Poster and stills have `picture_width` x `picture_height`."""

    master: str
    duration_ms: int
    has_audio: bool
    renditions: tuple[RenditionResult, ...]
    files: tuple[OutputFile, ...]
    poster: str
    stills: tuple[str, ...]
    picture_width: int
    picture_height: int

    @property
    def total_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


async def run_ladder(
    source: Path,
    out: Path,
    info: MediaInfo,
    renditions: Sequence[Rendition],
    tools: FfmpegTools,
    *,
    on_progress: OnProgress,
    limits: EncodeLimits,
    threads: int = 1,
) -> LadderResult:
    """Encodes `source` into `out`, an empty or new folder that the caller renames or removes.

    `renditions` as `plan_ladder` gives them, the largest first. `on_progress` gets a growing percentage, 100
    at the end; what it raises stops the child and is raised here. Cancelling kills the child. Raises
    `TranscodeFailed`.
    """
    _prepare(out, [rendition.name for rendition in renditions] + ([AUDIO] if info.has_audio else []))
    command = build_command(
        source,
        info,
        renditions,
        tools,
        max_duration_ms=limits.max_duration_ms,
        max_pixels=limits.max_frame_pixels,
        threads=threads,
    )
    caps = ChildLimits(limits.cpu_s, limits.memory_bytes, limits.file_bytes, limits.wall_s)
    watch = _Watch(info.duration_ms, on_progress)
    ended = await run_limited(command, caps, cwd=out, on_stdout=watch.progress_line, on_stderr=watch.error_line)
    _check(ended, watch.broken_frames)
    duration_ms = await asyncio.to_thread(_encoded_ms, out, info, renditions[0])
    pictures = build_pictures_command(picture_rendition(renditions), duration_ms, tools)
    _check(await run_limited(pictures, caps, cwd=out), 0)
    result = await asyncio.to_thread(_finish, out, info, renditions)
    await watch.advance(100)
    return result


class _Watch:
    """Reads ffmpeg's two streams while it runs: how far it is, and how many frames were broken."""

    def __init__(self, duration_ms: int, on_progress: OnProgress) -> None:
        self._duration_ms = max(1, duration_ms)
        self._on_progress = on_progress
        self._percent = -1
        self.broken_frames = 0

    async def progress_line(self, line: str) -> None:
        key, _, value = line.partition("=")
        if key == "out_time_us" and value.strip().isdigit():
            # 100 is kept for the end: the playlists are still to be written and inspected.
            await self.advance(min(99, int(value) // 10 // self._duration_ms))

    async def advance(self, percent: int) -> None:
        if percent > self._percent:
            self._percent = percent
            await self._on_progress(percent)

    def error_line(self, line: str) -> None:
        if _BROKEN_FRAME.search(line):
            self.broken_frames += 1


def _prepare(out: Path, folders: Sequence[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise FileExistsError(f"the output folder {out} is not empty")
    for folder in folders:
        (out / folder).mkdir()


def _check(ended: Finished, broken_frames: int) -> None:
    """Raises `TranscodeFailed` unless the child ended well and decoded what it read."""
    tail = ended.stderr_tail
    if ended.timed_out:
        raise TranscodeFailed(True, "The video could not be converted in time.", detail=tail)
    if ended.returncode in (-signal.SIGXCPU, -signal.SIGXFSZ):
        code = RejectCode.UNSUPPORTED
        raise TranscodeFailed(False, "Converting the video takes more than the limit.", code=code, detail=tail)
    if "No space left" in tail or "Cannot allocate memory" in tail or ended.returncode == -signal.SIGKILL:
        raise TranscodeFailed(True, "The video could not be converted for want of resources.", detail=tail)
    if broken_frames > _BROKEN_FRAMES_ALLOWED:
        raise TranscodeFailed(False, _DAMAGED, code=RejectCode.CORRUPT, detail=tail)
    if ended.returncode != 0:
        raise TranscodeFailed(True, "The video could not be converted.", detail=tail)


def _encoded_ms(out: Path, info: MediaInfo, rendition: Rendition) -> int:
    """How long the output is; raises where that is clearly less than what the packets of the source promised."""
    try:
        duration_ms = round(measure(out, rendition.name).duration_s * 1000)
    except (OutputInvalid, OSError) as error:
        raise TranscodeFailed(True, _UNSOUND, detail=str(error)) from error
    if info.duration_ms - duration_ms > _SHORTER_ALLOWED_MS + 1000 / output_fps(info):
        raise TranscodeFailed(False, _DAMAGED, code=RejectCode.CORRUPT, detail=f"{duration_ms} ms came out")
    return duration_ms


def _finish(out: Path, info: MediaInfo, renditions: Sequence[Rendition]) -> LadderResult:
    fps = output_fps(info)
    try:
        tracks = [measure(out, rendition.name) for rendition in renditions]
        audio = measure(out, AUDIO) if info.has_audio else None
        for track in (*tracks, *([audio] if audio else [])):
            finish_media_playlist(out, track.folder)
        write_master(out, renditions, tracks, audio, fps)
        verify_output(out, tracks, audio, fps)
    except (OutputInvalid, OSError) as error:
        raise TranscodeFailed(True, _UNSOUND, detail=str(error)) from error
    return _result(out, renditions, tracks, audio)


def _result(out: Path, renditions: Sequence[Rendition], tracks: Sequence[Track], audio: Track | None) -> LadderResult:
    chosen = picture_rendition(renditions)
    paths = sorted(path for path in out.rglob("*") if path.is_file())
    return LadderResult(
        master=MASTER,
        duration_ms=round(tracks[0].duration_s * 1000),
        has_audio=audio is not None,
        renditions=tuple(
            RenditionResult(
                name=rendition.name,
                width=rendition.width,
                height=rendition.height,
                codec=track.codec,
                bitrate_kbps=round((track.average_bps + (audio.average_bps if audio else 0)) / 1000),
                peak_kbps=round((track.peak_bps + (audio.peak_bps if audio else 0)) / 1000),
            )
            for rendition, track in zip(renditions, tracks, strict=True)
        ),
        files=tuple(OutputFile(str(path.relative_to(out)), path.stat().st_size) for path in paths),
        poster=POSTER,
        stills=STILLS,
        picture_width=chosen.width,
        picture_height=chosen.height,
    )
