"""Opaque, signed tokens: page tokens, cursors and URL tokens that nobody else can make."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from svc_kit.errors import invalid

_MAC_BYTES = 12
MAX_TOKEN_CHARS = 2048


class TokenSigner:
    """Signs and opens tokens of one purpose with a service's secret. Tokens of another purpose do not open."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        self._key = hmac.digest(secret, purpose.encode(), hashlib.sha256)

    def seal(self, *values: Any, bound_to: str = "") -> str:
        """A URL-safe token of JSON values, valid only for the same `bound_to` (a viewer, a list)."""
        body = json.dumps(values, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._mac(body, bound_to) + body).rstrip(b"=").decode()

    def open(self, token: str, *, bound_to: str = "", field: str = "page_token") -> list[Any]:
        """The values of a token; raises BAD_USER_INPUT naming `field` when it is malformed, forged or bound to
        something else."""
        wrong = invalid(field, "This cursor is malformed or belongs to another list or viewer.")
        if len(token) > MAX_TOKEN_CHARS:
            raise wrong
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise wrong from None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body, bound_to)):
            raise wrong
        values: list[Any] = json.loads(body)
        return values

    def _mac(self, body: bytes, bound_to: str) -> bytes:
        return hmac.digest(self._key, bound_to.encode() + b"\0" + body, hashlib.sha256)[:_MAC_BYTES]


def page_size(asked: int, *, default: int = 50, most: int = 100) -> int:
    """The page size by AIP-158: 0 means the default, more than the most means the most; negative is an error."""
    if asked < 0:
        raise invalid("page_size", f"page_size must not be negative; it is {asked}.")
    return min(asked or default, most)
