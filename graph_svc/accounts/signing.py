"""Access tokens and the keys that sign them, which rotate with overlap."""

from __future__ import annotations

import asyncio
import json
import secrets

from joserfc.jwk import OKPKey

from graph_svc.accounts.sealing import Sealer, Unsealable
from graph_svc.accounts.store import KeyStore, SigningKey
from graph_svc.settings import GraphSettings
from svc_kit.auth import ALGORITHM, AUDIENCE, ISSUER, sign
from svc_kit.caller import Role
from svc_kit.clock import Clock, now_ms
from svc_kit.telemetry import log

RELOAD_AFTER_S = 30.0
SKEW_MS = 60_000
_DAY_MS = 24 * 3600 * 1000
_log = log(__name__)


class KeyRing:
    """The signing keys of all processes: each is published, then signs, then stays until its last token has expired."""

    def __init__(self, store: KeyStore, sealer: Sealer, clock: Clock, settings: GraphSettings) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._settings = settings
        self._usable: list[tuple[SigningKey, OKPKey]] = []
        self._loaded_at = float("-inf")
        self._loading = asyncio.Lock()

    async def jwks(self) -> str:
        """The public keys as a JWK set, JSON. Always from truth: another process may have begun to sign."""
        keys = await self._store.signing_keys()
        if not keys:
            await self.signer()
            keys = await self._store.signing_keys()
        return json.dumps({"keys": [json.loads(key.public_jwk) for key in keys]})

    async def signer(self) -> OKPKey:
        """The key that signs now; made when there is none."""
        async with self._loading:
            key = self._current()
            if key is None or self._clock.monotonic() - self._loaded_at >= RELOAD_AFTER_S:
                await self._load()
                key = self._current()
            if key is None:
                await self.rotate()
                await self._load()
                key = self._current()
            if key is None:
                raise RuntimeError("no signing key although one was just made")
            return key

    async def rotate(self) -> None:
        """Add the next key when its time has come, remove keys whose tokens have all expired."""
        now = now_ms(self._clock)
        keys = await self._store.signing_keys()
        usable = [key for key in keys if self._open(key) is not None]
        newest = keys[-1].kid if keys else ""
        lead_ms = self._settings.signing_key_lead_s * 1000
        if not any(key.active_at_ms <= now for key in usable):
            await self._store.add_signing_key(self._make(now), newest)
        elif now >= usable[-1].active_at_ms + self._settings.signing_key_days * _DAY_MS - lead_ms:
            await self._store.add_signing_key(self._make(now + lead_ms), newest)
        over = now - self._settings.access_token_s * 1000 - SKEW_MS
        successors = [key.active_at_ms for key in usable]
        gone = [key.kid for key in keys if any(key.active_at_ms < begun <= over for begun in successors)]
        if gone:
            await self._store.drop_signing_keys(gone)
            _log.info("signing keys removed", kids=gone)

    async def _load(self) -> None:
        opened = [(key, self._open(key)) for key in await self._store.signing_keys()]
        self._usable = [(key, private) for key, private in opened if private is not None]
        self._loaded_at = self._clock.monotonic()

    def _current(self) -> OKPKey | None:
        now = now_ms(self._clock)
        active = [private for key, private in self._usable if key.active_at_ms <= now]
        return active[-1] if active else None

    def _make(self, active_at_ms: int) -> SigningKey:
        kid = secrets.token_hex(8)
        pair = OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig", "alg": ALGORITHM})
        private = json.dumps(pair.as_dict(private=True)).encode()
        public = json.dumps(pair.as_dict(private=False))
        _log.info("signing key made", kid=kid, active_at_ms=active_at_ms)
        return SigningKey(kid, public, self._sealer.seal(private, under=kid.encode()), active_at_ms)

    def _open(self, key: SigningKey) -> OKPKey | None:
        try:
            private = self._sealer.open(key.sealed_private, under=key.kid.encode())
        except Unsealable:
            _log.warning("a signing key was sealed by another secret; its tokens stay valid", kid=key.kid)
            return None
        return OKPKey.import_key(json.loads(private))


class AccessTokens:
    """Issues access tokens."""

    def __init__(self, ring: KeyRing, clock: Clock, lifetime_s: int) -> None:
        self._ring = ring
        self._clock = clock
        self._lifetime_s = lifetime_s

    async def issue(self, user_id: int, session_id: int, role: Role) -> tuple[str, int]:
        """An EdDSA JWT of a session, and when it expires in milliseconds since 1970-01-01 UTC."""
        key = await self._ring.signer()
        now = int(self._clock.now().timestamp())
        expires = now + self._lifetime_s
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "role": role.value,
            "iat": now,
            "exp": expires,
            "jti": secrets.token_hex(16),
        }
        return sign(claims, key), expires * 1000
