"""The master playlist, written from what the encoder really produced and not from what it was asked for."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import m3u8

from media_svc.transcode.engine.boxes import BadBox, body_of, boxes, find
from media_svc.transcode.engine.command import AUDIO, MEDIA_PLAYLIST
from media_svc.transcode.engine.errors import OutputInvalid
from media_svc.transcode.engine.ladder import SEGMENT_S, Rendition, starting_first

MASTER = "master.m3u8"
_GROUP = "audio"
_SAMPLE_ENTRY_FIELDS = {"avc1": 78, "mp4a": 28}
_DECODER_CONFIG, _DECODER_SPECIFIC = 0x04, 0x05


@dataclass(frozen=True, slots=True)
class Segment:
    """One media segment: path relative to the output folder, seconds, bytes."""

    path: str
    duration_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Track:
    """One media playlist as measured: codec string of RFC 6381, peak and average rate in bit/s."""

    folder: str
    codec: str
    segments: tuple[Segment, ...]
    peak_bps: int
    average_bps: int

    @property
    def duration_s(self) -> float:
        return sum(segment.duration_s for segment in self.segments)


def measure(out: Path, folder: str) -> Track:
    """Reads one media playlist and the sizes of what it lists. Raises `OutputInvalid` where a file is
    missing."""
    text = (out / folder / MEDIA_PLAYLIST).read_text("utf-8")
    playlist = m3u8.loads(text)
    segments = tuple(_segment(out, folder, item.uri, item.duration) for item in playlist.segments)
    if not segments or not playlist.segment_map:
        raise OutputInvalid(f"{folder}: the playlist lists no segment or no initialisation")
    bits = sum(segment.size_bytes for segment in segments) * 8
    return Track(
        folder=folder,
        codec=codec_of(out / folder / playlist.segment_map[0].uri),
        segments=segments,
        peak_bps=peak_bps(segments),
        average_bps=math.ceil(bits / sum(segment.duration_s for segment in segments)),
    )


def peak_bps(segments: Sequence[Segment], target_s: float = SEGMENT_S) -> int:
    """Peak segment bit rate as RFC 8216 (4.3.4.2) defines it: the largest over runs of neighbouring segments
    that last 0.5 to 1.5 target durations together. A clip shorter than that is one run."""
    best = 0.0
    for start in range(len(segments)):
        bits, seconds = 0, 0.0
        for segment in segments[start:]:
            bits += segment.size_bytes * 8
            seconds += segment.duration_s
            if seconds > 1.5 * target_s:
                break
            if seconds >= 0.5 * target_s:
                best = max(best, bits / seconds)
    if best == 0.0:
        best = sum(one.size_bytes * 8 for one in segments) / sum(one.duration_s for one in segments)
    return math.ceil(best)


def write_master(
    out: Path, renditions: Sequence[Rendition], tracks: Sequence[Track], audio: Track | None, fps: Fraction
) -> None:
    """Writes `master.m3u8`; `tracks` in the order of `renditions`. Every URI is relative."""
    measured = {rendition.name: track for rendition, track in zip(renditions, tracks, strict=True)}
    master = m3u8.M3U8()
    master.version = "7"
    master.is_independent_segments = True
    media = _audio_media(audio) if audio else None
    if media:
        master.add_media(media)
    for rendition in starting_first(renditions):
        track = measured[rendition.name]
        info = {
            "bandwidth": track.peak_bps + (audio.peak_bps if audio else 0),
            "average_bandwidth": track.average_bps + (audio.average_bps if audio else 0),
            "codecs": f"{track.codec},{audio.codec}" if audio else track.codec,
            "resolution": f"{rendition.width}x{rendition.height}",
            "frame_rate": float(fps),
        }
        if audio:
            info["audio"] = _GROUP
        uri = f"{rendition.name}/{MEDIA_PLAYLIST}"
        master.add_playlist(m3u8.Playlist(uri, info, [media] if media else [], base_uri=None))
    (out / MASTER).write_text(master.dumps(), "utf-8")


def finish_media_playlist(out: Path, folder: str) -> None:
    """Says on every media playlist, the sound's too, that each of its segments can be decoded on its own."""
    path = out / folder / MEDIA_PLAYLIST
    playlist = m3u8.loads(path.read_text("utf-8"))
    playlist.is_independent_segments = True
    path.write_text(playlist.dumps(), "utf-8")


def codec_of(init: Path) -> str:
    """The codec string of an initialisation segment: `avc1.PPCCLL` or `mp4a.40.N`."""
    with init.open("rb") as stream:
        try:
            return _codec(io.BytesIO(stream.read(1 << 20)))
        except (BadBox, IndexError) as error:
            raise OutputInvalid(f"{init.name}: no readable codec") from error


def _segment(out: Path, folder: str, uri: str, duration_s: float) -> Segment:
    path = f"{folder}/{uri}"
    try:
        size = (out / path).stat().st_size
    except FileNotFoundError:
        raise OutputInvalid(f"{path} is listed and missing") from None
    if size == 0 or duration_s <= 0:
        raise OutputInvalid(f"{path} is empty")
    return Segment(path, duration_s, size)


def _audio_media(audio: Track) -> m3u8.Media:
    return m3u8.Media(
        uri=f"{AUDIO}/{MEDIA_PLAYLIST}",
        type="AUDIO",
        group_id=_GROUP,
        name="Original",
        default="YES",
        autoselect="YES",
        channels="2",
    )


def _codec(stream: io.BytesIO) -> str:
    end = len(stream.getbuffer())
    table = find(stream, "moov/trak/mdia/minf/stbl/stsd", 0, end)
    if table is None:
        raise IndexError("no sample description")
    entry = next(boxes(stream, table.body + 8, table.end))
    children = entry.body + _SAMPLE_ENTRY_FIELDS.get(entry.kind, 0)
    if entry.kind == "avc1":
        configuration = find(stream, "avcC", children, entry.end)
        if configuration is not None:
            return f"avc1.{body_of(stream, configuration)[1:4].hex()}"
    elif entry.kind == "mp4a":
        descriptor = find(stream, "esds", children, entry.end)
        if descriptor is not None:
            return _aac(body_of(stream, descriptor)[4:])
    raise IndexError(f"unexpected sample entry {entry.kind}")


def _aac(descriptors: bytes) -> str:
    """Object type of an elementary stream descriptor (ISO/IEC 14496-1): tags with sizes of 1 to 4 bytes,
    nested."""
    at, object_type = 0, 0
    while at < len(descriptors):
        tag, at = descriptors[at], at + 1
        while descriptors[at] & 0x80:
            at += 1
        at += 1
        if tag == _DECODER_CONFIG:
            object_type, at = descriptors[at], at + 13
        elif tag == _DECODER_SPECIFIC:
            return f"mp4a.{object_type:x}.{descriptors[at] >> 3}"
        else:
            at += 3  # the outermost descriptor: an id and flags, then what it holds
    raise IndexError("no decoder configuration")
