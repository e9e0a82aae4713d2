"""Signing up, logging in, and changes of a profile."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Any

from graph_svc.accounts import validate
from graph_svc.accounts.credentials import Credentials, Issuer
from graph_svc.accounts.passwords import Passwords
from graph_svc.accounts.store import Account, AccountStore, AccountTx, AvatarDirectory, Revocations
from graph_svc.settings import GraphSettings
from reelgraph.events.v1.account_pb2 import AccountCreated, AccountInterestsSet, AccountProfile, AccountUpdated
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.errors import AppError, UserCode, conflict, invalid, unauthenticated
from svc_kit.ids import IdGenerator
from svc_kit.limits import Limit, RateLimiter, Ticket
from svc_kit.text import name_key
from svc_kit.uow import UnitOfWork, idempotent


@dataclass(frozen=True, slots=True)
class ChosenInterests:
    """An account after its interests were set."""

    account: Account
    hashtags: list[str]


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """How often an address or an account may try."""

    sign_ups: Limit
    log_ins: Limit
    wrong_passwords: Limit

    @classmethod
    def of(cls, settings: GraphSettings) -> AccountLimits:
        """By the settings."""
        window = settings.rate_window_s
        return cls(
            Limit("sign_up", settings.sign_ups_per_address, window, "Too many sign-ups from this address."),
            Limit("log_in", settings.log_ins_per_address, window, "Too many log-ins from this address."),
            Limit("password", settings.wrong_passwords_per_account, window, "Too many wrong passwords."),
        )


class AccountCommands:
    """Changes of accounts. Addresses are the client's, for rate limits; empty: not limited by address."""

    def __init__(
        self,
        store: AccountStore,
        replies: UnitOfWork,
        *,
        ids: IdGenerator,
        clock: Clock,
        passwords: Passwords,
        issuer: Issuer,
        revocations: Revocations,
        avatars: AvatarDirectory,
        limiter: RateLimiter,
        limits: AccountLimits,
    ) -> None:
        self.replies = replies
        self._store = store
        self._ids = ids
        self._clock = clock
        self._passwords = passwords
        self._issuer = issuer
        self._revocations = revocations
        self._avatars = avatars
        self._limiter = limiter
        self._limits = limits

    async def sign_up(
        self, caller: Caller, username: str, password: str, *, display_name: str, device: str, address: str
    ) -> Credentials:
        """Create an account and its first session. Raises TAKEN on `username`."""
        validate.username(username)
        shown = validate.display_name(display_name) if display_name else username
        await self._limit_address(self._limits.sign_ups, address)
        key = name_key(username)
        # Asked before the costly hash, decided by the reservation below.
        if self._issuer.is_reserved(key) or await self._store.ids_by_name([key]):
            raise _taken(username)
        password_hash = await self._passwords.hash(password)
        account = Account(self._ids.next(), username, shown, "", "", now_ms(self._clock), version=1)
        credentials = await self._issuer.new_session(account, validate.device(device))
        async with self._store.begin(caller) as tx:
            if not await tx.reserve_name(key, account.id):
                raise _taken(username)
            await tx.put_account(account, password_hash)
            await self._issuer.open(tx, credentials)
            created = AccountCreated(profile=_profile(account))
            tx.emit(entity=_entity(account), version=account.version, actor_id=account.id, account_created=created)
        return credentials

    async def log_in(self, caller: Caller, username: str, password: str, *, device: str, address: str) -> Credentials:
        """Begin a session. Raises INVALID_CREDENTIALS, RATE_LIMITED."""
        await self._limit_address(self._limits.log_ins, address)
        key = name_key(username)
        # Every try counts until it has turned out right, so that many at once are no way around the limit.
        attempt = await self._limiter.take(self._limits.wrong_passwords, key)
        user_id = (await self._store.ids_by_name([key])).get(key)
        stored = await self._store.password_hash(user_id) if user_id else None
        if not await self._is_right(stored, password, attempt) or user_id is None or stored is None:
            raise invalid("password", "User name or password is wrong.", UserCode.INVALID_CREDENTIALS)
        await self._limiter.give_back(attempt)
        account = (await self._store.accounts([user_id]))[user_id]
        fresh = await self._passwords.hash(password) if self._passwords.is_outdated(stored) else None
        credentials = await self._issuer.new_session(account, validate.device(device))
        async with self._store.begin(caller) as tx:
            if fresh is not None:
                await tx.set_password_hash(user_id, stored, fresh)
            displaced = await self._issuer.open(tx, credentials)
        await self._revocations.publish(displaced)
        return credentials

    async def _is_right(self, stored: str | None, password: str, attempt: Ticket) -> bool:
        try:
            return await self._passwords.verify(stored, password)
        except AppError:
            # Refused unchecked: that was not a wrong password.
            await self._limiter.give_back(attempt)
            raise

    async def _limit_address(self, limit: Limit, address: str) -> None:
        if address:
            await self._limiter.take(limit, _network(address))

    @idempotent
    async def update_profile(
        self,
        caller: Caller,
        *,
        display_name: str | None = None,
        bio: str | None = None,
        avatar_upload_id: int | None = None,
    ) -> Account:
        """Change what is not None; `avatar_upload_id` 0 removes the avatar. Returns the account after it."""
        user_id = caller.viewer()
        changes: dict[str, Any] = {}
        if display_name is not None:
            changes["display_name"] = validate.display_name(display_name)
        if bio is not None:
            changes["bio"] = validate.bio(bio)
        if avatar_upload_id is not None:
            changes["avatar_url"] = await self._avatars.claim(caller, avatar_upload_id) if avatar_upload_id else ""
        async with self._store.begin(caller) as tx:
            before = await _own(tx, user_id)
            after = replace(before, **changes)
            if after != before:
                after = replace(after, version=before.version + 1)
                await tx.set_profile(after)
                updated = AccountUpdated(profile=_profile(after))
                tx.emit(entity=_entity(after), version=after.version, actor_id=user_id, account_updated=updated)
            return await tx.reply(after)

    @idempotent
    async def set_interests(self, caller: Caller, hashtags: list[str]) -> ChosenInterests:
        """Replace the caller's interests by these hashtags, normalised."""
        user_id = caller.viewer()
        chosen = validate.hashtags(hashtags)
        async with self._store.begin(caller) as tx:
            account = await _own(tx, user_id)
            if await tx.interests(user_id) != chosen:
                account = replace(account, version=account.version + 1)
                await tx.set_interests(user_id, chosen, account.version)
                tx.emit(
                    entity=_entity(account),
                    version=account.version,
                    actor_id=user_id,
                    account_interests_set=AccountInterestsSet(account_id=user_id, hashtags=chosen),
                )
            return await tx.reply(ChosenInterests(account, chosen))


async def _own(tx: AccountTx, user_id: int) -> Account:
    account = await tx.account(user_id)
    if account is None:
        raise unauthenticated("The account of this token is gone.")
    return account


def _taken(username: str) -> AppError:
    return conflict("username", f"The user name {username} is taken.", UserCode.TAKEN)


def _entity(account: Account) -> str:
    return f"account:{account.id}"


def _profile(account: Account) -> AccountProfile:
    return AccountProfile(
        account_id=account.id, username=account.username, display_name=account.display_name, bio=account.bio
    )


def _network(address: str) -> str:
    """Whom an address stands for: one IPv4 address, or the /64 that a single IPv6 client is given."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
