"""What a part's URL promises, sealed so that nobody else can make one."""

from __future__ import annotations

from dataclasses import dataclass

from svc_kit.errors import AppError
from svc_kit.paging import TokenSigner


@dataclass(frozen=True, slots=True)
class PartGrant:
    """The right to put one part, once or again, until it expires. `sha256` is hex, or empty when any bytes will do."""

    handle: str
    number: int
    size_bytes: int
    sha256: str
    expires_at_ms: int


class PartTokens:
    """Seals and opens part grants."""

    def __init__(self, secret: bytes) -> None:
        self._signer = TokenSigner(secret, "media.part")

    def seal(self, grant: PartGrant) -> str:
        """A URL-safe token."""
        return self._signer.seal(grant.handle, grant.number, grant.size_bytes, grant.sha256, grant.expires_at_ms)

    def open(self, token: str) -> PartGrant | None:
        """The grant of a token; None when it is malformed or forged. Whether it expired is for the caller to see."""
        try:
            handle, number, size_bytes, sha256, expires_at_ms = self._signer.open(token)
        except AppError:
            return None
        return PartGrant(str(handle), int(number), int(size_bytes), str(sha256), int(expires_at_ms))
