"""What a file is by its first bytes, and whether its outer structure is whole. Reads headers only.

It runs in the probe's child: nothing here trusts a byte, and every loop is bounded by the file's size.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from media_svc.transcode.engine.boxes import BadBox, Box, boxes

_MAX_BOXES = 200_000
_FIRST_BOXES = frozenset({"ftyp", "styp", "moov", "mdat", "wide", "free", "skip", "pnot", "uuid"})
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_OTHER_VIDEO = (
    (b"RIFF", "AVI"),
    (b"FLV", "FLV"),
    (b"OggS", "Ogg"),
    (b"\x30\x26\xb2\x75", "WMV"),
    (b"\x00\x00\x01\xba", "MPEG"),
    (b"\x00\x00\x01\xb3", "MPEG"),
    (b"\x47\x40", "MPEG-TS"),
)


class Container(StrEnum):
    """The two families that are accepted; the value is the name of ffmpeg's demuxer."""

    MP4 = "mov"
    MATROSKA = "matroska"


@dataclass(frozen=True, slots=True)
class Structure:
    """`container` None: not an accepted kind; `other`: the name of a known video kind that is not accepted.

    `index_missing`: an mp4 without its `moov`; `cut`: the file ends before its own headers say that it does.
    """

    container: Container | None
    other: str | None = None
    index_missing: bool = False
    cut: bool = False


def examine(path: Path) -> Structure:
    """The structure of a non-empty local file."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(16)
        if head.startswith(_EBML):
            return Structure(Container.MATROSKA, cut=_matroska_cut(stream, size))
        if len(head) >= 8 and head[4:8].decode("latin-1") in _FIRST_BOXES:
            return _mp4(stream, size)
        return Structure(None, other=next((name for magic, name in _OTHER_VIDEO if head.startswith(magic)), None))


def _mp4(stream: BinaryIO, size: int) -> Structure:
    seen: set[str] = set()
    cut = False
    try:
        for box in islice(boxes(stream, 0, size), _MAX_BOXES):
            cut = cut or _beyond(box, size)
            seen.add(box.kind)
    except BadBox:
        # Some cameras leave padding behind the media; before it, the structure is broken.
        cut = not {"moov", "mdat"} <= seen
    return Structure(Container.MP4, index_missing="moov" not in seen, cut=cut)


def _beyond(box: Box, size: int) -> bool:
    return box.end > size


def _matroska_cut(stream: BinaryIO, size: int) -> bool:
    stream.seek(len(_EBML))
    header = _vint(stream)
    if header is None:
        return True
    at = stream.tell() + header
    while at < size:
        stream.seek(at)
        identifier = stream.read(4)
        length = _vint(stream)
        if identifier != _SEGMENT or length is None:
            # Void elements may stand in between; a segment of unknown size (recorded live) ends where it
            # ends.
            return identifier != _SEGMENT
        at = stream.tell() + length
    return at > size


def _vint(stream: BinaryIO) -> int | None:
    """An EBML size; None when it is unknown or missing."""
    first = stream.read(1)
    if not first or first[0] == 0:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & ((1 << (8 - length)) - 1)]) + stream.read(length - 1))
    return None if value == (1 << (7 * length)) - 1 else value
