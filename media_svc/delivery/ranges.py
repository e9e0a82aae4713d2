"""`Range` and `If-None-Match` of RFC 9110, as far as players use them: one range, strong or weak tags."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range begins behind the end."""


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes `start` to `start + length - 1`."""

    start: int
    length: int


def parse_range(header: str, size_bytes: int) -> Span | None:
    """The one range asked for; None to send the whole (no range, several, or malformed). Raises `Unsatisfiable`."""
    match = _RANGE.fullmatch(header)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size_bytes)
        if length == 0:
            raise Unsatisfiable
        return Span(size_bytes - length, length)
    start = int(match[1])
    if match[2] and int(match[2]) < start:
        return None
    if start >= size_bytes:
        raise Unsatisfiable
    end = min(int(match[2]), size_bytes - 1) if match[2] else size_bytes - 1
    return Span(start, end - start + 1)


def matches(header: str, etag: str) -> bool:
    """Whether `If-None-Match` or `If-Range` names an entity tag (with its quotes), compared weakly."""
    return header.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in header.split(","))
