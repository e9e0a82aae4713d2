"""Accounts and sessions in the relational truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import Any

from sqlalchemy import Select, delete, insert, or_, select, update

from graph_svc.accounts.store import Account, RefreshToken, Session, SigningKey
from graph_svc.accounts.stores.tables import accounts, interests, refresh_tokens, sessions, signing_keys, usernames
from svc_kit.caller import Caller
from svc_kit.db import ByIds, upsert
from svc_kit.leases import exclusive
from svc_kit.uow import SqlTx, UnitOfWork, begin

_ACCOUNT = select(
    accounts.c.user_id,
    accounts.c.username,
    accounts.c.display_name,
    accounts.c.bio,
    accounts.c.avatar_url,
    accounts.c.created_at_ms,
    accounts.c.version,
)
_ACCOUNTS = ByIds(_ACCOUNT, accounts.c.user_id)
_SESSION = select(
    sessions.c.session_id,
    sessions.c.user_id,
    sessions.c.device,
    sessions.c.created_at_ms,
    sessions.c.last_used_at_ms,
    sessions.c.expires_at_ms,
    sessions.c.ended_at_ms,
)


def _account(row: Any) -> Account:
    return Account(*row)


def _session(row: Any) -> Session:
    session_id, user_id, device, created, used, expires, ended = row
    return Session(session_id, user_id, device, created, used, expires, ended is not None)


def _active(now_ms: int) -> tuple[Any, ...]:
    return sessions.c.ended_at_ms.is_(None), sessions.c.expires_at_ms > now_ms


class SqlAccountTx(SqlTx):
    """`AccountTx` in one database transaction."""

    async def reserve_name(self, name_key: str, user_id: int) -> bool:
        row = {"name_key": name_key, "user_id": user_id}
        await self.connection.execute(upsert(self.uow.db, usernames, row, key=["name_key"]))
        holder = select(usernames.c.user_id).where(usernames.c.name_key == name_key)
        return bool((await self.connection.execute(holder)).scalar_one() == user_id)

    async def put_account(self, account: Account, password_hash: str) -> None:
        row = asdict(account)
        row["user_id"] = row.pop("id")
        await self.connection.execute(insert(accounts).values(password_hash=password_hash, **row))

    async def account(self, user_id: int) -> Account | None:
        found = _ACCOUNT.where(accounts.c.user_id == user_id).with_for_update()
        row = (await self.connection.execute(found)).one_or_none()
        return row and _account(row)

    async def set_profile(self, account: Account) -> None:
        await self.connection.execute(
            update(accounts)
            .where(accounts.c.user_id == account.id)
            .values(
                display_name=account.display_name,
                bio=account.bio,
                avatar_url=account.avatar_url,
                version=account.version,
            )
        )

    async def set_password_hash(self, user_id: int, old: str, new: str) -> None:
        await self.connection.execute(
            update(accounts)
            .where(accounts.c.user_id == user_id, accounts.c.password_hash == old)
            .values(password_hash=new)
        )

    async def interests(self, user_id: int) -> list[str]:
        found = select(interests.c.hashtags).where(interests.c.user_id == user_id)
        stored = (await self.connection.execute(found)).scalar_one_or_none()
        return [] if stored is None else list(json.loads(stored))

    async def set_interests(self, user_id: int, hashtags: Sequence[str], version: int) -> None:
        row = {"user_id": user_id, "hashtags": json.dumps(list(hashtags), ensure_ascii=False)}
        await self.connection.execute(upsert(self.uow.db, interests, row, key=["user_id"], update=["hashtags"]))
        await self.connection.execute(update(accounts).where(accounts.c.user_id == user_id).values(version=version))

    async def put_session(self, session: Session, token_hash: str) -> None:
        row = asdict(session)
        row["session_id"] = row.pop("id")
        del row["ended"]
        await self.connection.execute(insert(sessions).values(**row))
        await self._put_token(session.user_id, session.id, token_hash)

    async def _put_token(self, user_id: int, session_id: int, token_hash: str) -> None:
        await self.connection.execute(
            insert(refresh_tokens).values(
                user_id=user_id, token_hash=token_hash, session_id=session_id, used_key_hash="", reply=b""
            )
        )

    async def rotate(self, used: RefreshToken, next_hash: str, now_ms: int, expires_at_ms: int) -> bool:
        token = (
            refresh_tokens.c.user_id == used.user_id,
            refresh_tokens.c.token_hash == used.token_hash,
            refresh_tokens.c.used_at_ms.is_(None),
        )
        # Locks the row: of two with the same token, the second finds it used.
        unused = await self.connection.execute(select(refresh_tokens.c.session_id).where(*token).with_for_update())
        if unused.one_or_none() is None:
            return False
        extended = await self.connection.execute(
            update(sessions)
            .where(sessions.c.session_id == used.session_id, sessions.c.user_id == used.user_id, *_active(now_ms))
            .values(last_used_at_ms=now_ms, expires_at_ms=expires_at_ms)
        )
        if extended.rowcount != 1:
            return False
        marks = {"used_at_ms": used.used_at_ms, "used_key_hash": used.used_key_hash, "reply": used.reply}
        await self.connection.execute(update(refresh_tokens).where(*token).values(**marks))
        await self._put_token(used.user_id, used.session_id, next_hash)
        return True

    async def end_session(self, user_id: int, session_id: int, now_ms: int) -> bool:
        ended = await self.connection.execute(
            update(sessions)
            .where(sessions.c.session_id == session_id, sessions.c.user_id == user_id, sessions.c.ended_at_ms.is_(None))
            .values(ended_at_ms=now_ms)
        )
        return ended.rowcount == 1

    async def surplus_sessions(self, user_id: int, now_ms: int, keep: int) -> list[int]:
        found = (
            select(sessions.c.session_id)
            .where(sessions.c.user_id == user_id, *_active(now_ms))
            .order_by(sessions.c.last_used_at_ms.desc(), sessions.c.session_id.desc())
        )
        return list((await self.connection.execute(found)).scalars().all()[keep:])


class SqlAccountStore:
    """`AccountStore` over the service's database."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._db = uow.db

    def begin(self, caller: Caller) -> AbstractAsyncContextManager[SqlAccountTx]:
        return begin(SqlAccountTx, self._uow, caller)

    async def _all(self, statement: Select[*tuple[Any, ...]]) -> Sequence[Any]:
        async with self._db.read() as connection:
            return (await connection.execute(statement)).all()

    async def accounts(self, ids: Sequence[int]) -> dict[int, Account]:
        return {row[0]: Account(*row) for row in await self._db.by_ids(_ACCOUNTS, ids)}

    async def ids_by_name(self, name_keys: Sequence[str]) -> dict[str, int]:
        found = select(usernames.c.name_key, usernames.c.user_id).where(usernames.c.name_key.in_(name_keys))
        return {row.name_key: row.user_id for row in await self._all(found)}

    async def list_accounts(self, after_id: int, limit: int) -> list[Account]:
        found = _ACCOUNT.where(accounts.c.user_id > after_id).order_by(accounts.c.user_id).limit(limit)
        return [_account(row) for row in await self._all(found)]

    async def interests(self, ids: Sequence[int]) -> dict[int, list[str]]:
        found = select(interests.c.user_id, interests.c.hashtags).where(interests.c.user_id.in_(ids))
        decoded = {row.user_id: list(json.loads(row.hashtags)) for row in await self._all(found)}
        return {user_id: hashtags for user_id, hashtags in decoded.items() if hashtags}

    async def password_hash(self, user_id: int) -> str | None:
        rows = await self._all(select(accounts.c.password_hash).where(accounts.c.user_id == user_id))
        return rows[0].password_hash if rows else None

    async def session(self, user_id: int, session_id: int) -> Session | None:
        found = _SESSION.where(sessions.c.session_id == session_id, sessions.c.user_id == user_id)
        rows = await self._all(found)
        return _session(rows[0]) if rows else None

    async def sessions(self, user_id: int, now_ms: int, limit: int) -> list[Session]:
        found = _SESSION.where(sessions.c.user_id == user_id, *_active(now_ms))
        recent = found.order_by(sessions.c.last_used_at_ms.desc(), sessions.c.session_id.desc()).limit(limit)
        return [_session(row) for row in await self._all(recent)]

    async def active_sessions(self, session_ids: Sequence[int], now_ms: int) -> set[int]:
        found = select(sessions.c.session_id).where(sessions.c.session_id.in_(session_ids), *_active(now_ms))
        return {row.session_id for row in await self._all(found)}

    async def refresh_token(self, user_id: int, token_hash: str) -> RefreshToken | None:
        t = refresh_tokens.c
        found = select(t.user_id, t.token_hash, t.session_id, t.used_at_ms, t.used_key_hash, t.reply)
        rows = await self._all(found.where(t.user_id == user_id, t.token_hash == token_hash))
        return RefreshToken(**rows[0]._mapping) if rows else None

    async def prune_sessions(self, before_ms: int, limit: int) -> int:
        gone = or_(sessions.c.ended_at_ms < before_ms, sessions.c.expires_at_ms < before_ms)
        async with self._db.write() as connection:
            found = select(sessions.c.user_id, sessions.c.session_id).where(gone).limit(limit)
            rows = (await connection.execute(found)).all()
            users, ids = sorted({row.user_id for row in rows}), [row.session_id for row in rows]
            for table in (refresh_tokens, sessions):
                mine = table.c.user_id.in_(users) & table.c.session_id.in_(ids)
                await connection.execute(delete(table).where(mine))
        return len(rows)


class SqlKeyStore:
    """`KeyStore` over the service's database."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._db = uow.db

    async def signing_keys(self) -> list[SigningKey]:
        k = signing_keys.c
        found = select(k.kid, k.public_jwk, k.sealed_private, k.active_at_ms).order_by(k.active_at_ms, k.kid)
        async with self._db.read() as connection:
            return [SigningKey(*row) for row in (await connection.execute(found)).all()]

    async def add_signing_key(self, key: SigningKey, newest_kid: str) -> None:
        k = signing_keys.c
        newest = select(k.kid).order_by(k.active_at_ms.desc(), k.kid.desc()).limit(1)
        async with self._db.write() as connection:
            await exclusive(self._db, connection, "signing-keys")
            if ((await connection.execute(newest)).scalar_one_or_none() or "") == newest_kid:
                await connection.execute(insert(signing_keys).values(**asdict(key)))

    async def drop_signing_keys(self, kids: Sequence[str]) -> None:
        async with self._db.write() as connection:
            await connection.execute(delete(signing_keys).where(signing_keys.c.kid.in_(kids)))
