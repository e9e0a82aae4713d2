"""Who a token belongs to: viewers by EdDSA JWT (RFC 8037) against a JWK set, services by a shared token."""

from __future__ import annotations

import hmac
import json
import warnings
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet, OKPKey

from svc_kit.caller import Caller, Role
from svc_kit.clock import Clock
from svc_kit.errors import unauthenticated

ALGORITHM = "EdDSA"
ISSUER = "reelgraph"
AUDIENCE = "reelgraph"
REFETCH_AFTER_S = 5.0
CACHED_TOKENS = 4096
MAX_TOKEN_CHARS = 4096


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified access token says."""

    user_id: int
    session_id: int
    role: Role
    expires_at: int
    """Seconds since 1970-01-01 UTC."""


@contextmanager
def _promised_algorithm() -> Iterator[None]:
    """RFC 9864 names the curve instead and the library warns; clients were promised RFC 8037's `EdDSA`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        yield


def sign(claims: Mapping[str, Any], key: OKPKey) -> str:
    """An access token of these claims by an Ed25519 key with a `kid`."""
    with _promised_algorithm():
        return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, dict(claims), key, algorithms=[ALGORITHM])


class TokenVerifier:
    """Verifies access tokens. Keys are fetched when a token names one that is not known, at most every 5 s; a
    signature is checked once a token."""

    def __init__(self, fetch_jwks: Callable[[], Awaitable[str]], clock: Clock) -> None:
        self._fetch = fetch_jwks
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched_at = float("-inf")
        self._verified: OrderedDict[str, Claims] = OrderedDict()

    async def verify(self, token: str) -> Claims:
        """The claims of a token; raises UNAUTHENTICATED when it is malformed, forged, expired or made for somebody
        else."""
        claims = self._verified.get(token)
        if claims is None:
            claims = await self._check(token)
            self._verified[token] = claims
            if len(self._verified) > CACHED_TOKENS:
                self._verified.popitem(last=False)
        if self._clock.now().timestamp() >= claims.expires_at:
            raise unauthenticated("The access token has expired.")
        return claims

    async def _check(self, token: str) -> Claims:
        bad = unauthenticated("The access token is not valid.")
        if len(token) > MAX_TOKEN_CHARS:
            raise bad
        keys = await self._keys_for(token)
        try:
            with _promised_algorithm():
                decoded = jwt.decode(token, keys, algorithms=[ALGORITHM]).claims
            if decoded["iss"] != ISSUER or decoded["aud"] != AUDIENCE:
                raise bad
            return Claims(_id(decoded["sub"]), _id(decoded["sid"]), Role(decoded["role"]), int(decoded["exp"]))
        except (JoseError, ValueError, KeyError, TypeError):
            raise bad from None

    async def _keys_for(self, token: str) -> KeySet:
        known = self._keys is not None and _kid(token) in {key.kid for key in self._keys.keys}
        if not known and self._clock.monotonic() - self._fetched_at >= REFETCH_AFTER_S:
            fetched = KeySet.import_key_set(json.loads(await self._fetch()))
            self._keys, self._fetched_at = fetched, self._clock.monotonic()
        if self._keys is None:
            raise unauthenticated("The access token is not valid.")
        return self._keys


def _kid(token: str) -> str | None:
    from joserfc.jws import extract_compact

    try:
        return extract_compact(token.encode()).headers().get("kid")
    except (JoseError, ValueError):
        return None


class Authenticator:
    """Turns the `authorization` and `x-reelgraph-viewer` metadata of a call into a `Caller`."""

    def __init__(self, verifier: TokenVerifier, service_token: str) -> None:
        self._verifier = verifier
        self._service_token = service_token

    async def authenticate(self, authorization: str, viewer: str = "") -> Caller:
        """The caller; anonymous without `authorization`. Only a service may name a viewer. Raises UNAUTHENTICATED."""
        if not authorization:
            if viewer:
                raise unauthenticated("Only a service may act for a viewer.")
            return Caller()
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthenticated("authorization must be `Bearer <token>`.")
        if hmac.compare_digest(token.encode(), self._service_token.encode()):
            return Caller(user_id=_viewer_id(viewer), is_service=True)
        if viewer:
            raise unauthenticated("Only a service may act for a viewer.")
        claims = await self._verifier.verify(token)
        return Caller(user_id=claims.user_id, session_id=claims.session_id, role=claims.role, token=token)


def _viewer_id(viewer: str) -> int:
    try:
        return _id(viewer) if viewer else 0
    except ValueError:
        raise unauthenticated("x-reelgraph-viewer must be an id.") from None


def _id(text: str) -> int:
    """An id as tokens and metadata write it; raises ValueError."""
    if not (isinstance(text, str) and text.isascii() and text.isdecimal() and 0 < int(text) < 2**63):
        raise ValueError("not an id")
    return int(text)
