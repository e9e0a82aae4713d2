"""ISO base media boxes (mp4, mov, CMAF), read without loading media data."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_LARGE_SIZE = 1
_TO_END = 0


@dataclass(frozen=True, slots=True)
class Box:
    """One box: its four-character type, where its body starts and where it ends, in bytes from the file's
    start.

    `end` is what the header claims: it may lie beyond the end of a file that was cut.
    """

    kind: str
    body: int
    end: int


class BadBox(ValueError):
    """The bytes at this place are no box header."""


def boxes(stream: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets, in order. Raises `BadBox` where there is none."""
    at = start
    while at + 8 <= end:
        stream.seek(at)
        header = stream.read(16)
        size, kind, body = int.from_bytes(header[:4]), header[4:8], at + 8
        if size == _LARGE_SIZE:
            size, body = int.from_bytes(header[8:16]), at + 16
        elif size == _TO_END:
            size = end - at
        if size < body - at or not all(0x20 <= byte <= 0x7E or byte == 0xA9 for byte in kind):
            raise BadBox(f"no box at offset {at}")
        yield Box(kind.decode("latin-1"), body, at + size)
        at += size


def find(stream: BinaryIO, path: str, start: int, end: int) -> Box | None:
    """The first box at a path such as `moov/trak/mdia`, or None."""
    kind, _, rest = path.partition("/")
    for box in boxes(stream, start, end):
        if box.kind == kind:
            return find(stream, rest, box.body, min(box.end, end)) if rest else box
    return None


def body_of(stream: BinaryIO, box: Box, at_most: int = 1 << 16) -> bytes:
    """The first bytes of a box's body."""
    stream.seek(box.body)
    return stream.read(min(box.end - box.body, at_most))
