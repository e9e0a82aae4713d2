"""Ports of accounts: relational truth, revocations as they happen, and avatars, which media_svc keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from svc_kit.unit import Caller, Unit


@dataclass(frozen=True, slots=True)
class Account:
    """An account's public face. Times are milliseconds since 1970-01-01 UTC, here and below."""

    id: int
    username: str
    display_name: str
    bio: str
    avatar_url: str
    created_at_ms: int
    version: int
    """Of the entity `account:<id>`; grows with each change of profile or interests."""


@dataclass(frozen=True, slots=True)
class Session:
    """A place where somebody is logged in."""

    id: int
    user_id: int
    device: str
    created_at_ms: int
    last_used_at_ms: int
    expires_at_ms: int
    ended: bool = False


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One refresh token of a session's family; all are kept as long as the session, so that reuse is noticed."""

    user_id: int
    token_hash: str
    """SHA-256 of the token, in hex."""
    session_id: int
    used_at_ms: int | None = None
    used_key_hash: str = ""
    """SHA-256 of the idempotency key it was used with, in hex; empty for none."""
    reply: bytes = b""
    """What was answered, sealed under the token itself: of no use to who can only read the database."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair that signs access tokens."""

    kid: str
    public_jwk: str
    """JSON."""
    sealed_private: bytes
    active_at_ms: int
    """From when it signs; it is published before."""


class AccountTx(Unit, Protocol):
    """One write transaction on accounts and sessions."""

    async def reserve_name(self, name_key: str, user_id: int) -> bool:
        """Take a name; false when another account has it."""
        ...

    async def put_account(self, account: Account, password_hash: str) -> None:
        """Insert a new account."""
        ...

    async def account(self, user_id: int) -> Account | None:
        """The account, locked until the transaction ends."""
        ...

    async def set_profile(self, account: Account) -> None:
        """Write display name, bio, avatar and version of an existing account."""
        ...

    async def set_password_hash(self, user_id: int, old: str, new: str) -> None:
        """Replace a password's hash, unless it is no longer `old`."""
        ...

    async def interests(self, user_id: int) -> list[str]:
        """The account's interests, in the order chosen."""
        ...

    async def set_interests(self, user_id: int, hashtags: Sequence[str], version: int) -> None:
        """Replace the account's interests; `version` becomes the account's."""
        ...

    async def put_session(self, session: Session, token_hash: str) -> None:
        """Insert a session and its first refresh token."""
        ...

    async def rotate(self, used: RefreshToken, next_hash: str, now_ms: int, expires_at_ms: int) -> bool:
        """Mark a refresh token as used, add the next one and extend the session; false, with nothing written, when
        the token was used or the session ended before."""
        ...

    async def end_session(self, user_id: int, session_id: int, now_ms: int) -> bool:
        """End an active session; false when there is none such."""
        ...

    async def surplus_sessions(self, user_id: int, now_ms: int, keep: int) -> list[int]:
        """Active sessions beyond the `keep` most recently used ones."""
        ...


class Faces(Protocol):
    """What everybody may know of accounts."""

    async def accounts(self, ids: Sequence[int]) -> dict[int, Account]:
        """Accounts by id; unknown ones are left out."""
        ...


class AccountStore(Faces, Protocol):
    """Accounts and sessions. Reads see every committed write."""

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[AccountTx]:
        """A write transaction for `caller`'s command."""
        ...

    async def ids_by_name(self, name_keys: Sequence[str]) -> dict[str, int]:
        """Account ids by name key; unknown ones are left out."""
        ...

    async def list_accounts(self, after_id: int, limit: int) -> list[Account]:
        """Accounts with a greater id, ascending."""
        ...

    async def interests(self, ids: Sequence[int]) -> dict[int, list[str]]:
        """Interests by account; accounts without any are left out."""
        ...

    async def password_hash(self, user_id: int) -> str | None:
        """The account's password hash."""
        ...

    async def session(self, user_id: int, session_id: int) -> Session | None:
        """A session of this account, ended or not."""
        ...

    async def sessions(self, user_id: int, now_ms: int, limit: int) -> list[Session]:
        """The account's active sessions, most recently used first."""
        ...

    async def active_sessions(self, session_ids: Sequence[int], now_ms: int) -> set[int]:
        """Those of these sessions that are neither ended nor expired."""
        ...

    async def refresh_token(self, user_id: int, token_hash: str) -> RefreshToken | None:
        """A refresh token, used or not."""
        ...

    async def prune_sessions(self, before_ms: int, limit: int) -> int:
        """Remove sessions that ended or expired before then, with their tokens; returns how many."""
        ...


class KeyStore(Protocol):
    """Signing keys."""

    async def signing_keys(self) -> list[SigningKey]:
        """All of them, by ascending `active_at_ms`."""
        ...

    async def add_signing_key(self, key: SigningKey, newest_kid: str) -> None:
        """Insert a key, unless the newest one is not `newest_kid` (empty: there is none): another process was first."""
        ...

    async def drop_signing_keys(self, kids: Sequence[str]) -> None:
        """Remove keys."""
        ...


class Revocations(Protocol):
    """Sessions as they are revoked. At most once: whoever lost the stream asks the truth."""

    async def publish(self, session_ids: Sequence[int]) -> None:
        """Tell all watchers. Never raises: the truth is committed by then."""
        ...

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[int]]:
        """Session ids from entering the context on; raises UNAVAILABLE when they can't be had any more."""
        ...


class AvatarDirectory(Protocol):
    """Answered by media_svc."""

    async def claim(self, caller: Caller, upload_id: int) -> str:
        """Make a READY image of the caller's own public; its absolute, lasting URL. Raises NOT_FOUND, FORBIDDEN,
        CONFLICT or INVALID on `avatar_upload_id`."""
        ...
