"""Whose feed it is: an account, an installation, or anybody."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from feed_svc.feeds.store import ClientHints

MAX_CLIENT_ID_CHARS = 64


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks. `id` 0: nobody is logged in."""

    id: int
    client: ClientHints

    @property
    def owner(self) -> str:
        """Names the owner of snapshots: `u<id>`, `c<digest of the client id>`, or `a<digest>` shared by all clients
        without an id in one language and region."""
        if self.id:
            return f"u{self.id}"
        if self.client.client_id:
            return "c" + _digest(self.client.client_id[:MAX_CLIENT_ID_CHARS])
        return "a" + _digest(f"{language_of(self.client.language)}/{self.client.region}")

    @property
    def binding(self) -> str:
        """What cursors are bound to: the owner, or all clients without an id."""
        owner = self.owner
        return "a" if owner[0] == "a" else owner


def language_of(tag: str) -> str:
    """The primary language of a BCP 47 tag, lower case; empty when there is none."""
    return tag.partition("-")[0].partition("_")[0].lower()


def local_hour(now: datetime, timezone: str) -> int:
    """The hour of day, 0 to 23, at an IANA time zone; an unknown one counts as UTC."""
    return now.astimezone(_zone(timezone)).hour


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
