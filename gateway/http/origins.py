"""Which pages may call: by allow-list. Clients that are not browsers send no Origin and are not asked for one."""

from __future__ import annotations

import re
from collections.abc import Iterable

LOOPBACK = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


class Origins:
    """The allow-list. In development every loopback origin is on it."""

    def __init__(self, allowed: Iterable[str], public_url: str, *, loopback: bool) -> None:
        self.allowed = frozenset(origin.lower() for origin in (*allowed, _origin(public_url)) if origin)
        self.pattern = LOOPBACK if loopback else None

    def allows(self, origin: str | None) -> bool:
        """Whether a page of this origin (None: not a page) may call."""
        if origin is None or origin.lower() in self.allowed:
            return True
        return self.pattern is not None and re.fullmatch(self.pattern, origin) is not None


def _origin(url: str) -> str:
    found = re.match(r"https?://[^/]+", url)
    return found[0] if found else ""
