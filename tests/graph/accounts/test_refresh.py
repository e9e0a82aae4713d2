"""Refreshing a session, and what reuse of a refresh token means."""

from __future__ import annotations

import asyncio

import pytest

from reelgraph.graph.v1 import accounts_pb2 as pb
from svc_kit.db import connect
from svc_kit.errors import AppError, UserCode
from tests.graph.accounts.conftest import World, viewer

KEY = "0123456789abcdef"


async def refused(world: World, token: str, key: str = "") -> None:
    with pytest.raises(AppError) as error:
        await world.refresh(token, key)
    assert [(v.field, v.code) for v in error.value.violations] == [("refresh_token", UserCode.INVALID_CREDENTIALS)]


async def test_a_refresh_gives_a_new_pair_of_the_same_session(world: World) -> None:
    first = await world.sign_up()
    world.clock.advance(900)
    second = await world.refresh(first.refresh_token)
    assert second.session.id == first.session.id
    assert second.account == first.account
    assert second.refresh_token != first.refresh_token
    assert second.session.last_used_at.ToMilliseconds() - first.session.last_used_at.ToMilliseconds() == 900_000
    assert (await world.verifier.verify(second.access_token)).session_id == first.session.id
    with pytest.raises(AppError):
        await world.verifier.verify(first.access_token)


async def test_reuse_of_a_rotated_token_ends_the_whole_family(world: World) -> None:
    first = await world.sign_up()
    second = await world.refresh(first.refresh_token)
    third = await world.refresh(second.refresh_token)
    await refused(world, first.refresh_token)
    assert not await world.is_active(first.session.id)
    await refused(world, third.refresh_token)


async def test_reuse_leaves_the_accounts_other_sessions_alone(world: World) -> None:
    first, other = await world.sign_up(), await world.log_in()
    await world.refresh(first.refresh_token)
    await refused(world, first.refresh_token)
    assert await world.is_active(other.session.id)
    await world.refresh(other.refresh_token)


async def test_for_60_seconds_the_same_token_and_key_answer_as_at_first(world: World) -> None:
    first = await world.sign_up()
    second = await world.refresh(first.refresh_token, KEY)
    world.clock.advance(59)
    assert await world.refresh(first.refresh_token, KEY) == second
    third = await world.refresh(second.refresh_token)
    assert await world.refresh(first.refresh_token, KEY) == second
    assert await world.is_active(third.session.id)


async def test_after_60_seconds_the_same_token_and_key_are_a_reuse(world: World) -> None:
    first = await world.sign_up()
    await world.refresh(first.refresh_token, KEY)
    world.clock.advance(60)
    await refused(world, first.refresh_token, KEY)
    assert not await world.is_active(first.session.id)


@pytest.mark.parametrize("key", ["", "fedcba9876543210"])
async def test_another_key_or_none_is_a_reuse(world: World, key: str) -> None:
    first = await world.sign_up()
    await world.refresh(first.refresh_token, KEY)
    await refused(world, first.refresh_token, key)
    assert not await world.is_active(first.session.id)


async def test_a_retry_after_the_session_has_ended_gets_nothing(world: World) -> None:
    first = await world.sign_up()
    second = await world.refresh(first.refresh_token, KEY)
    await world.call("LogOut", pb.LogOutRequest(), viewer(second))
    await refused(world, first.refresh_token, KEY)
    await refused(world, second.refresh_token)


async def test_two_at_once_with_one_key_get_the_same_pair(world: World) -> None:
    first = await world.sign_up()
    pairs = await asyncio.gather(*(world.refresh(first.refresh_token, KEY) for _ in range(5)))
    assert all(pair == pairs[0] for pair in pairs)
    assert await world.is_active(first.session.id)


async def test_two_at_once_without_a_key_are_a_reuse(world: World) -> None:
    first = await world.sign_up()
    answers = await asyncio.gather(*(world.refresh(first.refresh_token) for _ in range(2)), return_exceptions=True)
    assert sum(isinstance(answer, AppError) for answer in answers) == 1
    assert not await world.is_active(first.session.id)


async def test_a_session_lives_30_days_from_each_use(world: World) -> None:
    credentials = await world.sign_up()
    for _ in range(3):
        world.clock.advance(29 * 24 * 3600)
        credentials = await world.refresh(credentials.refresh_token)
    world.clock.advance(30 * 24 * 3600)
    assert not await world.is_active(credentials.session.id)
    await refused(world, credentials.refresh_token)


@pytest.mark.parametrize("token", ["x", "é" * 20, "A" * 54, "A" * 512, "../../etc"])
async def test_what_was_never_a_token_is_refused(world: World, token: str) -> None:
    await refused(world, token)


async def test_a_forged_token_of_somebody_ends_nothing(world: World) -> None:
    first = await world.sign_up()
    forged = first.refresh_token[:-4] + ("AAAA" if not first.refresh_token.endswith("AAAA") else "BBBB")
    await refused(world, forged)
    assert await world.is_active(first.session.id)


async def test_no_token_is_stored_in_clear(world: World) -> None:
    first = await world.sign_up()
    second = await world.refresh(first.refresh_token, KEY)
    db = connect(world.platform.settings.service_db_url("graph"))
    async with db.read() as connection:
        tables = ("refresh_tokens", "sessions", "replies", "outbox", "signing_keys")
        rows = [(await connection.exec_driver_sql(f"SELECT * FROM {name}")).all() for name in tables]
    await db.close()
    stored = b"".join(v if isinstance(v, bytes) else str(v).encode() for found in rows for row in found for v in row)
    for secret in (first.refresh_token, second.refresh_token, first.access_token, second.access_token, '"d"'):
        assert secret.encode() not in stored
