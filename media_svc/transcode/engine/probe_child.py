"""The part of the probe that touches hostile bytes: `python -m ...probe_child PATH MAX_MS MAX_PIXELS`.

It runs in a child under limits, opens that one local file, and prints one line of JSON: facts, no judgement.
`fault` names what stopped it (see `Fault`); the parent decides what the uploader is told.
"""

import json
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av
import av.error
import av.logging
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from media_svc.transcode.engine.faults import FORMAT_WHITELIST, Fault, decoder_pixels
from media_svc.transcode.engine.structure import examine

_MAX_PACKETS = 400_000
_PACKETS_TO_FIRST_FRAME = 200
_JITTER = 0.2


def facts_of(path: Path, max_ms: int, max_pixels: int) -> dict[str, Any]:
    """Everything the parent needs to know, as JSON types; `fault` is absent when all is well."""
    facts: dict[str, Any] = {"size_bytes": path.stat().st_size}
    if facts["size_bytes"] == 0:
        return facts | {"fault": Fault.EMPTY}
    structure = examine(path)
    if structure.container is None:
        return facts | {"fault": Fault.UNKNOWN_KIND, "other": structure.other}
    facts["container"] = structure.container.value
    if structure.index_missing:
        return facts | {"fault": Fault.INDEX_MISSING}
    try:
        with _opened(path, structure.container.value) as container:
            facts |= _streams(container, max_pixels)
            if "fault" not in facts:
                facts |= _scan(container, facts["video_index"], facts["audio_index"], max_ms)
        # Length and size come before damage: they are the more useful thing to tell of a file that has both.
        if "fault" not in facts and structure.cut:
            facts["fault"] = Fault.CUT
        if "fault" not in facts:
            with _opened(path, structure.container.value) as container:
                facts |= _first_frame(container, facts["video_index"], max_pixels)
    except (av.error.FFmpegError, ValueError, OverflowError) as error:
        return facts | {"fault": Fault.CUT if structure.cut else Fault.UNREADABLE, "detail": str(error)[:200]}
    return facts


def _opened(path: Path, demuxer: str) -> InputContainer:
    # A named demuxer and the whitelists: whatever the bytes claim to be, nothing but this file is opened.
    options = {"protocol_whitelist": "file", "format_whitelist": FORMAT_WHITELIST}
    return av.open(f"file:{path}", mode="r", format=demuxer, options=options)


def _streams(container: InputContainer, max_pixels: int) -> dict[str, Any]:
    picture = av.stream.Disposition.attached_pic
    videos = [stream for stream in container.streams.video if not stream.disposition & picture]
    if not videos:
        return {"fault": Fault.NO_VIDEO}
    video = videos[0]
    if video.codec_context is None:
        return {"fault": Fault.NO_DECODER}
    audio = next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
    facts: dict[str, Any] = {
        "video_index": video.index,
        "video_codec": video.codec_context.name,
        "coded_width": video.codec_context.width,
        "coded_height": video.codec_context.height,
        "audio_index": audio.index if audio else None,
        "audio_codec": audio.codec_context.name if audio else None,
        "header_ms": container.duration // 1000 if container.duration else 0,
    }
    if video.codec_context.width * video.codec_context.height > max_pixels:
        facts["fault"] = Fault.TOO_MANY_PIXELS
    return facts


class _Track:
    """Where one stream starts and ends by its packets, in seconds."""

    def __init__(self, stream: VideoStream | AudioStream) -> None:
        self.stream = stream
        self.start: float | None = None
        self.end = 0.0
        self.times: list[float] = []

    def add(self, packet: "Packet[Any]") -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None or packet.is_discard:
            return
        at = float(stamp * packet.time_base)
        self.start = at if self.start is None else min(self.start, at)
        self.end = max(self.end, at + float((packet.duration or 0) * packet.time_base))
        self.times.append(at)


def _scan(container: InputContainer, video_index: int, audio_index: int | None, max_ms: int) -> dict[str, Any]:
    """The true length, from packets: a header's duration is only a claim. Stops as soon as it is too long."""
    video = _Track(container.streams[video_index])  # type: ignore[arg-type]  # the index is of a video stream
    tracks = {video_index: video}
    if audio_index is not None:
        tracks[audio_index] = _Track(container.streams[audio_index])  # type: ignore[arg-type]  # of an audio stream
    limit_s, count, damaged = max_ms / 1000, 0, False
    for packet in container.demux([track.stream for track in tracks.values()]):
        if packet.size == 0:
            continue
        count += 1
        damaged = damaged or packet.is_corrupt
        track = tracks[packet.stream_index]
        track.add(packet)
        if track.end - _origin(tracks) > limit_s:
            return _lengths(tracks, video_index) | {"fault": Fault.TOO_LONG}
        if count > _MAX_PACKETS:
            return {"fault": Fault.TOO_MANY_PACKETS}
    if not video.times:
        return {"fault": Fault.NO_VIDEO}
    facts = _lengths(tracks, video_index) | _rate(video)
    return facts | {"fault": Fault.DAMAGED_PACKET} if damaged else facts


def _origin(tracks: dict[int, _Track]) -> float:
    return min((track.start for track in tracks.values() if track.start is not None), default=0.0)


def _lengths(tracks: dict[int, _Track], video_index: int) -> dict[str, Any]:
    origin = _origin(tracks)
    ends = {index: track.end - origin for index, track in tracks.items() if track.times}
    return {
        "duration_ms": round(max(ends.values(), default=0.0) * 1000),
        "video_ms": round(ends.get(video_index, 0.0) * 1000),
        "has_audio": any(index != video_index for index in ends),
    }


def _rate(video: _Track) -> dict[str, Any]:
    """The nominal frame rate: the usual distance of frames, not their number over the length (a pause would
    lower it). Variable: more than one distance in twenty is off by more than the rounding of a millisecond
    clock."""
    times = sorted(set(video.times))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    if not gaps:
        return {"fps": "0", "variable": False}
    usual = median(gaps)
    tolerance = max(usual * _JITTER, 0.0015)
    off = sum(abs(gap - usual) > tolerance for gap in gaps)
    variable = off * 20 > len(gaps)
    average = video.stream.average_rate if isinstance(video.stream, VideoStream) else None
    if not variable and average:
        return {"fps": str(Fraction(average)), "variable": False}
    return {"fps": str(Fraction(1 / usual).limit_denominator(1001)), "variable": variable}


def _first_frame(container: InputContainer, video_index: int, max_pixels: int) -> dict[str, Any]:
    """What only a decoded frame tells: that it can be decoded, its real size, shape of pixels and
    rotation."""
    stream = container.streams[video_index]
    assert isinstance(stream, VideoStream)
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(decoder_pixels(max_pixels))}
    for count, packet in enumerate(container.demux(stream)):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            frames = []
        for frame in frames:
            aspect = stream.sample_aspect_ratio or Fraction(1)
            return {
                "width": frame.width,
                "height": frame.height,
                "pixel_aspect": str(aspect),
                "rotation": round(frame.rotation) % 360,
                "transfer": int(stream.codec_context.color_trc or 0),
            }
        if count > _PACKETS_TO_FIRST_FRAME:
            break
    return {"fault": Fault.UNDECODABLE}


def main(argv: list[str]) -> None:
    path, max_ms, max_pixels = Path(argv[0]), int(argv[1]), int(argv[2])
    av.logging.set_level(av.logging.PANIC)
    print(json.dumps(facts_of(path, max_ms, max_pixels)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
