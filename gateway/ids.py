"""Node ids: opaque and URL-safe. A kind and what identifies the node within it, in base64url without padding."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import IntEnum

import strawberry

MAX_CHARS = 600


class Kind(IntEnum):
    """What a node is. The numbers are in clients' caches: never reuse one."""

    USER = 1
    VIDEO = 2
    UPLOAD = 3
    COMMENT = 4
    HASHTAG = 5
    NOTIFICATION = 6
    SESSION = 7
    VIEWER = 8


@dataclass(frozen=True, slots=True)
class GlobalId:
    """A decoded node id. Hashtags are known by `name`, all else by `number` (above 0)."""

    kind: Kind
    number: int = 0
    name: str = ""


def encode(kind: Kind, number: int) -> strawberry.ID:
    """The node id of number `number` of a kind."""
    return _text(bytes([kind]) + number.to_bytes(8, "big"))


def encode_name(kind: Kind, name: str) -> strawberry.ID:
    """The node id of something that is known by its name."""
    return _text(bytes([kind]) + name.encode())


def decode(text: str) -> GlobalId | None:
    """What an id names; None for anything that `encode` did not make."""
    if len(text) > MAX_CHARS:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        kind = Kind(raw[0])
        if kind is Kind.HASHTAG:
            found = GlobalId(kind, name=raw[1:].decode())
            return found if found.name and _text(raw) == text else None
    except (binascii.Error, ValueError, IndexError):
        return None
    number = int.from_bytes(raw[1:], "big")
    # Only the canonical text: two ids for one node would be two entries in a client's cache.
    valid = len(raw) == 9 and 0 < number < 2**63 and _text(raw) == text
    return GlobalId(kind, number) if valid else None


def number_of(kind: Kind, text: str) -> int | None:
    """The number within `kind`; None when the id is malformed or of another kind."""
    found = decode(text)
    return found.number if found is not None and found.kind is kind else None


def _text(raw: bytes) -> strawberry.ID:
    return strawberry.ID(base64.urlsafe_b64encode(raw).rstrip(b"=").decode())
