"""Sessions made and turned into tokens: what sign-up, log-in and refresh share."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass

from graph_svc.accounts.signing import AccessTokens
from graph_svc.accounts.store import Account, AccountTx, Session
from graph_svc.settings import GraphSettings
from svc_kit.caller import Role
from svc_kit.clock import Clock, now_ms
from svc_kit.ids import IdGenerator
from svc_kit.text import name_key

_SECRET_BYTES = 32
_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Credentials:
    """Tokens of a session. Times are milliseconds since 1970-01-01 UTC."""

    access_token: str
    refresh_token: str
    access_expires_at_ms: int
    session: Session
    account: Account


def new_refresh_token(user_id: int) -> str:
    """256 random bits behind the account's id, which says where the token is kept."""
    raw = user_id.to_bytes(_ID_BYTES) + secrets.token_bytes(_SECRET_BYTES)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def owner_of(refresh_token: str) -> int | None:
    """The account's id inside a refresh token; None when it is malformed."""
    try:
        raw = base64.b64decode(refresh_token + "=" * (-len(refresh_token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    user_id = int.from_bytes(raw[:_ID_BYTES])
    return user_id if len(raw) == _ID_BYTES + _SECRET_BYTES and user_id < 2**63 else None


def sha256_hex(text: str) -> str:
    """How refresh tokens and keys are stored."""
    return hashlib.sha256(text.encode()).hexdigest()


class Issuer:
    """Makes sessions and their tokens."""

    def __init__(self, access: AccessTokens, ids: IdGenerator, clock: Clock, settings: GraphSettings) -> None:
        self._access = access
        self._ids = ids
        self._clock = clock
        self._settings = settings
        self._moderators = settings.moderators()

    async def new_session(self, account: Account, device: str) -> Credentials:
        """A new session and its first tokens; `open` writes it."""
        now = now_ms(self._clock)
        session = Session(self._ids.next(), account.id, device, now, now, self.expiry(now))
        return await self.tokens(account, session)

    async def tokens(self, account: Account, session: Session) -> Credentials:
        """New tokens of a session."""
        role = Role.MODERATOR if name_key(account.username) in self._moderators else Role.USER
        token, expires_at_ms = await self._access.issue(account.id, session.id, role)
        return Credentials(token, new_refresh_token(account.id), expires_at_ms, session, account)

    async def open(self, tx: AccountTx, credentials: Credentials) -> list[int]:
        """Write a new session; returns the ones it displaced, which are ended."""
        session = credentials.session
        now, keep = session.created_at_ms, self._settings.max_sessions_per_account - 1
        displaced = await tx.surplus_sessions(session.user_id, now, keep)
        for session_id in displaced:
            await tx.end_session(session.user_id, session_id, now)
        await tx.put_session(session, sha256_hex(credentials.refresh_token))
        return displaced

    def expiry(self, used_at_ms: int) -> int:
        """When a session used then ends by itself."""
        return used_at_ms + self._settings.refresh_token_s * 1000

    def is_reserved(self, key: str) -> bool:
        """Whether a name belongs to a moderator by the settings: who signed up with it would become one."""
        return key in self._moderators
