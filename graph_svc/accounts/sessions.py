"""Sessions after their beginning: refreshed, ended, and what reuse of a refresh token means."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from graph_svc.accounts.credentials import Credentials, Issuer, owner_of, sha256_hex
from graph_svc.accounts.sealing import Sealer, Unsealable
from graph_svc.accounts.store import AccountStore, RefreshToken, Revocations
from graph_svc.settings import GraphSettings
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError, UserCode, invalid, not_found, unauthenticated
from svc_kit.telemetry import log
from svc_kit.uow import UnitOfWork, idempotent

_REPLY = TypeAdapter(Credentials)
_log = log(__name__)


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that is over."""

    session_id: int


class SessionCommands:
    """Refreshes and ends sessions."""

    def __init__(
        self,
        store: AccountStore,
        replies: UnitOfWork,
        *,
        clock: Clock,
        issuer: Issuer,
        revocations: Revocations,
        sealer: Sealer,
        settings: GraphSettings,
    ) -> None:
        self.replies = replies
        self._store = store
        self._clock = clock
        self._issuer = issuer
        self._revocations = revocations
        self._sealer = sealer
        self._retry_ms = settings.refresh_retry_s * 1000

    async def refresh(self, caller: Caller, refresh_token: str) -> Credentials:
        """Exchange a refresh token for a new pair. Raises INVALID_CREDENTIALS on `refresh_token` when it is unknown,
        expired or ended; when it was used before, the session ends as well, but for 60 s with the same key."""
        user_id = owner_of(refresh_token)
        if user_id is None:
            raise _refused()
        key_hash = sha256_hex(caller.idempotency_key) if caller.idempotency_key else ""
        # Again when another call with the same token was first: then it is a retry or a reuse.
        for _ in range(2):
            token = await self._store.refresh_token(user_id, sha256_hex(refresh_token))
            if token is None:
                raise _refused()
            if token.used_at_ms is not None:
                return await self._again(caller, token, refresh_token, key_hash)
            credentials = await self._rotate(caller, token, refresh_token, key_hash)
            if credentials is not None:
                return credentials
        raise _refused()

    async def _rotate(
        self, caller: Caller, token: RefreshToken, refresh_token: str, key_hash: str
    ) -> Credentials | None:
        now = now_ms(self._clock)
        session = await self._store.session(token.user_id, token.session_id)
        account = (await self._store.accounts([token.user_id])).get(token.user_id)
        if session is None or account is None or session.ended or session.expires_at_ms <= now:
            raise _refused()
        expires_at_ms = self._issuer.expiry(now)
        session = replace(session, last_used_at_ms=now, expires_at_ms=expires_at_ms)
        credentials = await self._issuer.tokens(account, session)
        reply = self._sealer.seal(_REPLY.dump_json(credentials), under=refresh_token.encode()) if key_hash else b""
        used = replace(token, used_at_ms=now, used_key_hash=key_hash, reply=reply)
        async with self._store.begin(caller) as tx:
            done = await tx.rotate(used, sha256_hex(credentials.refresh_token), now, expires_at_ms)
        return credentials if done else None

    async def _again(self, caller: Caller, token: RefreshToken, refresh_token: str, key_hash: str) -> Credentials:
        now = now_ms(self._clock)
        used_at_ms = token.used_at_ms or 0
        if key_hash and key_hash == token.used_key_hash and now < used_at_ms + self._retry_ms:
            if not await self._store.active_sessions([token.session_id], now):
                raise _refused()
            try:
                return _REPLY.validate_json(self._sealer.open(token.reply, under=refresh_token.encode()))
            except Unsealable:
                _log.warning("a stored refresh was sealed by another secret", session=token.session_id)
                raise _refused() from None
        _log.warning("refresh token reused; its session ends", user=token.user_id, session=token.session_id)
        await self._end(caller, token.user_id, token.session_id)
        raise _refused()

    async def _end(self, caller: Caller, user_id: int, session_id: int) -> None:
        async with self._store.begin(caller) as tx:
            await tx.end_session(user_id, session_id, now_ms(self._clock))
        await self._revocations.publish([session_id])

    @idempotent
    async def log_out(self, caller: Caller) -> EndedSession:
        """End the caller's own session; an ended one stays so."""
        if not caller.session_id:
            raise unauthenticated("Logging out needs the session's own access token.")
        return await self._end_with_reply(caller, caller.session_id)

    @idempotent
    async def revoke(self, caller: Caller, session_id: int) -> EndedSession:
        """End one of the caller's sessions. Raises NOT_FOUND on `session_id`."""
        if await self._store.session(caller.viewer(), session_id) is None:
            raise not_found("session_id", "session")
        return await self._end_with_reply(caller, session_id)

    async def _end_with_reply(self, caller: Caller, session_id: int) -> EndedSession:
        async with self._store.begin(caller) as tx:
            await tx.end_session(caller.viewer(), session_id, now_ms(self._clock))
            result = await tx.reply(EndedSession(session_id))
        await self._revocations.publish([session_id])
        return result


def _refused() -> AppError:
    message = "This refresh token is not valid any more; log in again."
    return invalid("refresh_token", message, UserCode.INVALID_CREDENTIALS)
