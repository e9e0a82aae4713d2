"""The contract of `AccountStore` and `KeyStore`, for every dialect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from graph_svc.accounts.store import Account, AccountStore, KeyStore, RefreshToken, Session, SigningKey
from graph_svc.accounts.stores.sql import SqlAccountStore, SqlKeyStore
from graph_svc.schema import metadata, outbox, replies
from svc_kit.caller import Caller
from svc_kit.ids import IdGenerator
from svc_kit.uow import UnitOfWork
from tests.support.clock import FakeClock
from tests.support.databases import DATABASES, opened_database

NOBODY = Caller()
ANNA = Account(1, "Anna", "Anna", "", "", 1000, 1)
SESSION = Session(11, 1, "phone", 1000, 1000, 9000)


@dataclass(frozen=True, slots=True)
class Ports:
    """The adapters under test."""

    accounts: AccountStore
    keys: KeyStore


@pytest.fixture(params=DATABASES)
async def ports(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ports]:
    clock = FakeClock()
    async with opened_database(request.param, tmp_path, metadata) as db:
        uow = UnitOfWork(db, outbox, replies, IdGenerator(clock), clock)
        yield Ports(SqlAccountStore(uow), SqlKeyStore(uow))


@pytest.fixture
async def store(ports: Ports) -> AccountStore:
    async with ports.accounts.begin(NOBODY) as tx:
        assert await tx.reserve_name("anna", ANNA.id)
        await tx.put_account(ANNA, "hash")
        await tx.put_session(SESSION, "t1")
    return ports.accounts


async def test_a_name_belongs_to_whoever_reserved_it_first(store: AccountStore) -> None:
    async with store.begin(NOBODY) as tx:
        assert not await tx.reserve_name("anna", 2)
        assert await tx.reserve_name("anna", 1)
        assert await tx.reserve_name("änna", 2)
    assert await store.ids_by_name(["anna", "änna", "x"]) == {"anna": 1, "änna": 2}


async def test_of_many_who_reserve_a_name_at_once_one_gets_it(ports: Ports) -> None:
    async def reserve(user_id: int) -> bool:
        async with ports.accounts.begin(NOBODY) as tx:
            return await tx.reserve_name("anna", user_id)

    assert sorted(await asyncio.gather(*(reserve(n) for n in range(1, 9)))) == [False] * 7 + [True]


async def test_a_transaction_that_raises_leaves_nothing(ports: Ports) -> None:
    with pytest.raises(RuntimeError):
        async with ports.accounts.begin(NOBODY) as tx:
            await tx.reserve_name("anna", 1)
            await tx.put_account(ANNA, "hash")
            raise RuntimeError("stop")
    assert await ports.accounts.ids_by_name(["anna"]) == {}
    assert await ports.accounts.accounts([1]) == {}


async def test_accounts_are_read_as_written(store: AccountStore) -> None:
    assert await store.accounts([1, 2]) == {1: ANNA}
    assert await store.password_hash(1) == "hash"
    assert await store.password_hash(2) is None
    changed = replace(ANNA, display_name="Ånna 👍", bio="b", avatar_url="u", version=2)
    async with store.begin(NOBODY) as tx:
        assert await tx.account(1) == ANNA
        assert await tx.account(2) is None
        await tx.set_profile(changed)
    assert await store.accounts([1]) == {1: changed}
    assert await store.list_accounts(0, 10) == [changed]
    assert await store.list_accounts(1, 10) == []


async def test_a_password_hash_is_replaced_only_while_it_is_the_old_one(store: AccountStore) -> None:
    async with store.begin(NOBODY) as tx:
        await tx.set_password_hash(1, "hash", "new")
        await tx.set_password_hash(1, "hash", "newer")
    assert await store.password_hash(1) == "new"


async def test_interests_are_replaced_and_none_means_left_out(store: AccountStore) -> None:
    async with store.begin(NOBODY) as tx:
        assert await tx.interests(1) == []
        await tx.set_interests(1, ["b", "а"], 2)
        assert await tx.interests(1) == ["b", "а"]
    assert await store.interests([1, 2]) == {1: ["b", "а"]}
    assert (await store.accounts([1]))[1].version == 2
    async with store.begin(NOBODY) as tx:
        await tx.set_interests(1, [], 3)
    assert await store.interests([1]) == {}


async def test_a_token_rotates_once(store: AccountStore) -> None:
    used = RefreshToken(1, "t1", 11, 2000, "key", b"sealed")
    async with store.begin(NOBODY) as tx:
        assert await tx.rotate(used, "t2", 2000, 12_000)
    async with store.begin(NOBODY) as tx:
        assert not await tx.rotate(replace(used, used_key_hash="other"), "t3", 3000, 13_000)
    assert await store.refresh_token(1, "t1") == used
    assert await store.refresh_token(1, "t2") == RefreshToken(1, "t2", 11)
    assert await store.refresh_token(1, "t3") is None
    assert await store.refresh_token(2, "t2") is None
    assert await store.session(1, 11) == replace(SESSION, last_used_at_ms=2000, expires_at_ms=12_000)


async def test_of_many_rotations_at_once_one_succeeds(store: AccountStore) -> None:
    async def rotate(n: int) -> bool:
        async with store.begin(NOBODY) as tx:
            return await tx.rotate(RefreshToken(1, "t1", 11, 2000, str(n)), f"n{n}", 2000, 12_000)

    assert sorted(await asyncio.gather(*(rotate(n) for n in range(8)))) == [False] * 7 + [True]


async def test_a_token_of_an_ended_or_expired_session_does_not_rotate(store: AccountStore) -> None:
    async with store.begin(NOBODY) as tx:
        assert not await tx.rotate(RefreshToken(1, "t1", 11, 9000), "t2", 9000, 12_000)
    async with store.begin(NOBODY) as tx:
        assert await tx.end_session(1, 11, 2000)
        assert not await tx.rotate(RefreshToken(1, "t1", 11, 2000), "t2", 2000, 12_000)
    assert await store.refresh_token(1, "t1") == RefreshToken(1, "t1", 11)


async def test_sessions_end_once_and_only_by_their_owner(store: AccountStore) -> None:
    async with store.begin(NOBODY) as tx:
        assert not await tx.end_session(2, 11, 2000)
        assert await tx.end_session(1, 11, 2000)
        assert not await tx.end_session(1, 11, 2000)
    assert await store.active_sessions([11], 1500) == set()
    assert await store.session(1, 11) == replace(SESSION, ended=True)
    assert await store.session(2, 11) is None


async def test_active_sessions_come_most_recently_used_first(store: AccountStore) -> None:
    others = [Session(10 + n, 1, "", 1000, 1000 + n, 9000) for n in (2, 3)]
    async with store.begin(NOBODY) as tx:
        for session in others:
            await tx.put_session(session, f"t{session.id}")
        assert await tx.surplus_sessions(1, 2000, 2) == [11]
    assert await store.sessions(1, 2000, 2) == [others[1], others[0]]
    assert await store.active_sessions([11, 12, 99], 8999) == {11, 12}
    assert await store.active_sessions([11, 12], 9000) == set()
    assert await store.sessions(1, 9000, 10) == []


async def test_what_is_over_is_removed_with_its_tokens(store: AccountStore) -> None:
    assert await store.prune_sessions(9000, 10) == 0
    assert await store.prune_sessions(9001, 10) == 1
    assert await store.session(1, 11) is None
    assert await store.refresh_token(1, "t1") is None


async def test_a_signing_key_is_added_by_whoever_saw_the_newest(ports: Ports) -> None:
    one, two = SigningKey("a", "{}", b"\x00\xff", 100), SigningKey("b", "{}", b"", 200)
    await ports.keys.add_signing_key(one, "")
    await ports.keys.add_signing_key(two, "")
    assert await ports.keys.signing_keys() == [one]
    await ports.keys.add_signing_key(two, "a")
    assert await ports.keys.signing_keys() == [one, two]
    await ports.keys.drop_signing_keys(["a"])
    assert await ports.keys.signing_keys() == [two]
