"""Looks at the finished output before it counts: a player must be able to trust every promise in the
playlists."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import m3u8

from media_svc.transcode.engine.boxes import BadBox, body_of, find
from media_svc.transcode.engine.command import MEDIA_PLAYLIST, POSTER, STILLS
from media_svc.transcode.engine.errors import OutputInvalid
from media_svc.transcode.engine.ladder import SEGMENT_S
from media_svc.transcode.engine.playlists import MASTER, Segment, Track

_NOT_SYNC = 0x0001_0000
_HEADERS = 1 << 16
_TFHD_OPTIONAL = ((0x000001, 8), (0x000002, 4), (0x000008, 4), (0x000010, 4))
_TFHD_FLAGS = 0x000020
_TRUN_OFFSET, _TRUN_FIRST_FLAGS, _TRUN_FLAGS = 0x000001, 0x000004, 0x000400
_TRUN_BEFORE_FLAGS = ((0x000100, 4), (0x000200, 4))


def verify_output(out: Path, tracks: Sequence[Track], audio: Track | None, fps: Fraction) -> None:
    """Raises `OutputInvalid` unless playlists parse, all they list is there, every segment of a picture
    starts with a keyframe at the same time in all renditions, and all last equally long (a frame; the sound:
    a segment)."""
    every = [*tracks, *([audio] if audio else [])]
    _verify_master(out, every)
    for track in every:
        _verify_media_playlist(out, track)
    _verify_alignment(out, tracks, float(1 / fps))
    if audio and abs(audio.duration_s - tracks[0].duration_s) > SEGMENT_S:
        raise OutputInvalid(f"the sound lasts {audio.duration_s:.3f} s, the picture {tracks[0].duration_s:.3f} s")
    for name in (POSTER, *STILLS):
        _verify_picture(out / name)


def _verify_master(out: Path, every: Sequence[Track]) -> None:
    master = m3u8.loads((out / MASTER).read_text("utf-8"))
    listed = {item.uri for item in master.playlists} | {item.uri for item in master.media}
    expected = {f"{track.folder}/{MEDIA_PLAYLIST}" for track in every}
    if not master.is_variant or listed != expected:
        raise OutputInvalid(f"the master playlist lists {sorted(map(str, listed))}, not {sorted(expected)}")


def _verify_media_playlist(out: Path, track: Track) -> None:
    playlist = m3u8.loads((out / track.folder / MEDIA_PLAYLIST).read_text("utf-8"))
    uris = [segment.uri for segment in playlist.segments] + [item.uri for item in playlist.segment_map]
    if not playlist.is_endlist or playlist.playlist_type != "vod" or not playlist.segment_map:
        raise OutputInvalid(f"{track.folder}: not a finished playlist")
    for uri in uris:
        if Path(uri).name != uri or not (out / track.folder / uri).is_file():
            raise OutputInvalid(f"{track.folder}: {uri} is no file beside its playlist")
    longest = max(segment.duration_s for segment in track.segments)
    if playlist.target_duration is None or round(longest) > playlist.target_duration:
        raise OutputInvalid(f"{track.folder}: a segment lasts {longest:.3f} s, over the target duration")


def _verify_alignment(out: Path, tracks: Sequence[Track], frame_s: float) -> None:
    for one, other in pairwise(tracks):
        if len(one.segments) != len(other.segments):
            raise OutputInvalid(f"{one.folder} and {other.folder} have unequal numbers of segments")
        if abs(one.duration_s - other.duration_s) > frame_s:
            raise OutputInvalid(f"{one.folder} and {other.folder} last unequally long")
    for position in range(len(tracks[0].segments)):
        starts = {_keyframe_start(out, track.segments[position]) for track in tracks}
        if len(starts) != 1:
            raise OutputInvalid(f"segment {position} starts at different times: {sorted(starts)}")


def _keyframe_start(out: Path, segment: Segment) -> int:
    """The decode time at which a segment starts, in its timescale; raises unless its first sample is a
    keyframe."""
    with (out / segment.path).open("rb") as stream:
        try:
            fragment = _fragment(stream, segment.size_bytes)
        except BadBox as error:
            raise OutputInvalid(f"{segment.path} is damaged") from error
    if fragment is None:
        raise OutputInvalid(f"{segment.path} holds no fragment")
    start, flags = fragment
    if flags & _NOT_SYNC:
        raise OutputInvalid(f"{segment.path} does not start with a keyframe")
    return start


def _fragment(stream: BinaryIO, size: int) -> tuple[int, int] | None:
    found = [find(stream, f"moof/traf/{kind}", 0, size) for kind in ("tfdt", "tfhd", "trun")]
    if any(box is None for box in found):
        return None
    time, header, run = (body_of(stream, box, _HEADERS) for box in found if box is not None)
    start = struct.unpack_from(">Q" if time[0] == 1 else ">I", time, 4)[0]
    return start, _first_sample_flags(header, run)


def _first_sample_flags(header: bytes, run: bytes) -> int:
    """Flags of the first sample: its own in the run, else the run's for the first, else the fragment's
    default."""
    options = _word(run, 0) & 0xFFFFFF
    at = 8 + (4 if options & _TRUN_OFFSET else 0)
    if options & _TRUN_FIRST_FLAGS:
        return _word(run, at)
    if options & _TRUN_FLAGS:
        return _word(run, at + sum(size for bit, size in _TRUN_BEFORE_FLAGS if options & bit))
    defaults = _word(header, 0) & 0xFFFFFF
    if defaults & _TFHD_FLAGS:
        return _word(header, 8 + sum(size for bit, size in _TFHD_OPTIONAL if defaults & bit))
    return 0


def _word(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">I", data, at)[0])


def _verify_picture(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            head = stream.read(3)
    except FileNotFoundError:
        raise OutputInvalid(f"{path.name} is missing") from None
    if head != b"\xff\xd8\xff":
        raise OutputInvalid(f"{path.name} is no JPEG")
