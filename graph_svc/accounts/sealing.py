"""Secrets at rest: AES-256-GCM under keys derived from the platform's secret."""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class Unsealable(ValueError):
    """Sealed by another secret, or damaged."""


class Sealer:
    """Seals bytes of one purpose. What another purpose or another secret sealed does not open."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        self._key = hmac.digest(secret, purpose.encode(), hashlib.sha256)

    def seal(self, data: bytes, *, under: bytes = b"") -> bytes:
        """`data` encrypted; whoever opens it needs the same `under`, which is not in the result."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher(under).encrypt(nonce, data, None)

    def open(self, sealed: bytes, *, under: bytes = b"") -> bytes:
        """What was sealed; raises `Unsealable`."""
        try:
            return self._cipher(under).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError) as error:
            raise Unsealable("sealed by another secret, or damaged") from error

    def _cipher(self, under: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self._key, under, hashlib.sha256))
