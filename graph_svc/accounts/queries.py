"""Reads of accounts and sessions: from truth, but for public faces while truth is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from graph_svc.accounts.store import Account, AccountStore, Faces, Revocations, Session
from svc_kit.caller import Caller
from svc_kit.clock import Clock, now_ms
from svc_kit.paging import TokenSigner, page_size
from svc_kit.text import name_key

MAX_SESSIONS = 100


@dataclass(frozen=True, slots=True)
class AccountPage:
    """Accounts by ascending id."""

    accounts: list[Account]
    next_page_token: str


class AccountQueries:
    """Answers about accounts."""

    def __init__(
        self, store: AccountStore, faces: Faces, revocations: Revocations, pages: TokenSigner, clock: Clock
    ) -> None:
        self._store = store
        self._faces = faces
        self._revocations = revocations
        self._pages = pages
        self._clock = clock

    async def by_id(self, ids: Sequence[int]) -> list[Account]:
        """Those that exist, in the order asked, each once."""
        wanted = list(dict.fromkeys(ids))
        found = await self._faces.accounts(wanted) if wanted else {}
        return [found[user_id] for user_id in wanted if user_id in found]

    async def by_username(self, usernames: Sequence[str]) -> list[Account]:
        """Those that exist, in the order asked, each once."""
        keys = list(dict.fromkeys(name_key(name) for name in usernames))
        ids = await self._store.ids_by_name(keys) if keys else {}
        return await self.by_id([ids[key] for key in keys if key in ids])

    async def existing(self, ids: Sequence[int]) -> frozenset[int]:
        """Those of the ids that are accounts."""
        return frozenset(account.id for account in await self.by_id(ids))

    async def ids(self, usernames: Sequence[str]) -> list[int]:
        """The accounts with these names, in order, each once; unknown ones are left out."""
        return [account.id for account in await self.by_username(usernames)]

    async def page(self, size: int, token: str) -> AccountPage:
        """A page of all accounts; at most 1000, 500 when `size` is 0."""
        limit = page_size(size, default=500, most=1000)
        after_id = int(self._pages.open(token, bound_to="accounts")[0]) if token else 0
        found = await self._store.list_accounts(after_id, limit + 1)
        more = self._pages.seal(found[limit - 1].id, bound_to="accounts") if len(found) > limit else ""
        return AccountPage(found[:limit], more)

    async def sessions(self, caller: Caller) -> list[Session]:
        """The caller's active sessions, most recently used first, at most 100."""
        return await self._store.sessions(caller.viewer(), now_ms(self._clock), MAX_SESSIONS)

    async def active_sessions(self, session_ids: Sequence[int]) -> list[int]:
        """Those that are active, in the order asked, each once."""
        wanted = list(dict.fromkeys(session_ids))
        active = await self._store.active_sessions(wanted, now_ms(self._clock)) if wanted else set()
        return [session_id for session_id in wanted if session_id in active]

    async def interests(self, ids: Sequence[int]) -> dict[int, list[str]]:
        """Interests of accounts that have chosen any, in the order asked."""
        found = await self._store.interests(list(ids)) if ids else {}
        return {user_id: found[user_id] for user_id in ids if user_id in found}

    def watch_revoked(self) -> AbstractAsyncContextManager[AsyncIterator[int]]:
        """Ids of sessions as they are revoked, from entering the context on."""
        return self._revocations.watch()
