"""Keys that sign access tokens: published before they sign, kept until their last token has expired."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from graph_svc.accounts.sealing import Sealer
from graph_svc.accounts.signing import AccessTokens, KeyRing
from graph_svc.accounts.stores.sql import SqlKeyStore
from graph_svc.schema import metadata, outbox, replies
from graph_svc.settings import GraphSettings
from svc_kit.auth import TokenVerifier
from svc_kit.caller import Role
from svc_kit.db import Database, connect
from svc_kit.errors import AppError
from svc_kit.ids import IdGenerator
from svc_kit.uow import UnitOfWork
from tests.support.clock import FakeClock

SETTINGS = GraphSettings(signing_key_days=30, signing_key_lead_s=600, access_token_s=600)
DAY_S = 24 * 3600


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = connect(f"sqlite:///{tmp_path / 'graph.db'}")
    async with opened.write() as connection:
        await connection.run_sync(metadata.create_all)
    yield opened
    await opened.close()


def ring(db: Database, clock: FakeClock, secret: bytes = b"secret") -> KeyRing:
    store = SqlKeyStore(UnitOfWork(db, outbox, replies, IdGenerator(clock), clock))
    return KeyRing(store, Sealer(secret, "signing keys"), clock, SETTINGS)


async def kids(keys: KeyRing) -> list[str]:
    return [key["kid"] for key in json.loads(await keys.jwks())["keys"]]


async def test_the_set_holds_public_parts_alone(db: Database, clock: FakeClock) -> None:
    (key,) = json.loads(await ring(db, clock).jwks())["keys"]
    assert {name: key[name] for name in ("kty", "crv", "alg", "use")} == {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
    }
    assert "d" not in key


async def test_processes_share_one_key(db: Database, clock: FakeClock) -> None:
    first, second = ring(db, clock), ring(db, clock)
    assert (await first.signer()).kid == (await second.signer()).kid
    await first.rotate()
    assert await kids(first) == await kids(second) == [(await first.signer()).kid]


async def test_the_next_key_is_published_before_it_signs_and_the_old_one_outlives_its_tokens(
    db: Database, clock: FakeClock
) -> None:
    keys = ring(db, clock)
    verifier = TokenVerifier(keys.jwks, clock)
    access = AccessTokens(keys, clock, SETTINGS.access_token_s)
    old = (await keys.signer()).kid

    clock.advance(30 * DAY_S - 600)
    await keys.rotate()
    old_kid, new_kid = await kids(keys)
    assert (old_kid, (await keys.signer()).kid) == (old, old)
    clock.advance(599)
    last_of_old, _ = await access.issue(1, 2, Role.USER)
    clock.advance(60)
    await keys.rotate()
    assert (await keys.signer()).kid == new_kid
    first_of_new, _ = await access.issue(1, 2, Role.USER)
    assert await kids(keys) == [old_kid, new_kid]
    for token in (last_of_old, first_of_new):
        await verifier.verify(token)

    clock.advance(600)
    await keys.rotate()
    assert await kids(keys) == [old_kid, new_kid]
    with pytest.raises(AppError):
        await verifier.verify(last_of_old)
    clock.advance(60)
    await keys.rotate()
    assert await kids(keys) == [new_kid]


async def test_a_changed_secret_makes_a_new_key_and_leaves_old_tokens_valid(db: Database, clock: FakeClock) -> None:
    token, _ = await AccessTokens(ring(db, clock), clock, 600).issue(1, 2, Role.USER)
    clock.advance(60)
    other = ring(db, clock, b"another secret")
    assert (await other.signer()).kid not in (await kids(ring(db, clock)))[:1]
    assert len(await kids(other)) == 2
    await TokenVerifier(other.jwks, clock).verify(token)


async def test_private_keys_are_sealed_at_rest(db: Database, clock: FakeClock) -> None:
    key = await ring(db, clock).signer()
    async with db.read() as connection:
        stored: Any = (await connection.exec_driver_sql("SELECT sealed_private, public_jwk FROM signing_keys")).one()
    secret = str(key.as_dict(private=True)["d"])
    assert secret.encode() not in stored[0]
    assert secret not in stored[1]
