"""Logging in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from graph_svc.settings import GraphSettings
from reelgraph.graph.v1 import accounts_pb2 as pb
from svc_kit.caller import Role
from svc_kit.db import connect
from svc_kit.errors import AppError, Reason, UserCode
from tests.graph.accounts.conftest import PASSWORD, World, open_world, viewer
from tests.support.cache import take_down


async def test_the_right_password_begins_a_further_session_whatever_the_case_of_the_name(world: World) -> None:
    first = await world.sign_up("Anna")
    second = await world.log_in("ANNA", device="tv")
    assert second.account == first.account
    assert second.session.id != first.session.id
    listed = (await world.call("ListSessions", pb.ListSessionsRequest(), viewer(second))).sessions
    assert [(s.device, s.current) for s in listed] == [("tv", True), ("", False)]


async def test_a_wrong_name_and_a_wrong_password_answer_alike(world: World) -> None:
    await world.sign_up("anna")
    answers = []
    for name, password in [("anna", "not this one"), ("nobody", PASSWORD), ("no such / name", PASSWORD)]:
        with pytest.raises(AppError) as refused:
            await world.log_in(name, password)
        answers.append((refused.value.reason, refused.value.message, refused.value.violations))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][2][0].code is UserCode.INVALID_CREDENTIALS


async def test_ten_wrong_passwords_close_the_account_for_the_window_even_to_the_right_one(world: World) -> None:
    await world.sign_up("anna")
    for _ in range(10):
        with pytest.raises(AppError) as wrong:
            await world.log_in("anna", "not this one")
        assert wrong.value.user_code is UserCode.INVALID_CREDENTIALS
    world.clock.advance(60)
    with pytest.raises(AppError) as refused:
        await world.log_in("Anna")
    assert refused.value.reason is Reason.RATE_LIMITED
    assert refused.value.retry_after_ms == 540_000
    world.clock.advance(540)
    await world.log_in("anna")


async def test_many_wrong_passwords_at_once_are_no_way_around_the_limit(world: World) -> None:
    await world.sign_up("anna")
    tries = [world.log_in("anna", f"guess number {n}") for n in range(30)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    reasons = [answer.reason for answer in answers if isinstance(answer, AppError)]
    assert reasons.count(Reason.RATE_LIMITED) == 20


async def test_right_passwords_do_not_count(world: World) -> None:
    await world.sign_up("anna")
    for _ in range(15):
        await world.log_in("anna")


async def test_an_address_logs_in_only_so_often_in_a_window(tmp_path: Path) -> None:
    async with open_world(tmp_path, log_ins_per_address=2) as world:
        await world.sign_up("anna")
        for _ in range(2):
            await world.log_in("anna", client_address="203.0.113.7")
        with pytest.raises(AppError) as refused:
            await world.log_in("anna", client_address="203.0.113.7")
        assert refused.value.reason is Reason.RATE_LIMITED
        await world.log_in("anna")


async def test_without_the_cache_people_still_log_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.sign_up("anna")
    take_down(world.platform.cache, monkeypatch)
    await world.log_in("anna", client_address="203.0.113.7")
    with pytest.raises(AppError) as refused:
        await world.log_in("anna", "not this one")
    assert refused.value.user_code is UserCode.INVALID_CREDENTIALS


async def test_a_log_in_beyond_the_most_sessions_ends_the_one_not_used_for_longest(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_sessions_per_account=2) as world:
        first = await world.sign_up("anna")
        world.clock.advance(1)
        second = await world.log_in("anna")
        world.clock.advance(1)
        await world.refresh(first.refresh_token)
        third = await world.log_in("anna")
        states = [await world.is_active(c.session.id) for c in (first, second, third)]
    assert states == [True, False, True]


async def test_a_moderator_by_the_settings_gets_the_role_at_the_next_log_in(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.sign_up("The_Boss")
    async with open_world(tmp_path, day=1, moderator_usernames="the_boss") as world:
        claims = await world.verifier.verify((await world.log_in("the_boss")).access_token)
    assert claims.role is Role.MODERATOR


async def test_a_hash_of_older_parameters_is_made_again_when_the_password_is_known(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.sign_up("anna")
        old = await _stored_hash(world)
    async with open_world(tmp_path, day=1, password_time_cost=2) as world:
        with pytest.raises(AppError):
            await world.log_in("anna", "not this one")
        assert await _stored_hash(world) == old
        await world.log_in("anna")
        assert "t=2" in await _stored_hash(world)
        await world.log_in("anna")


async def _stored_hash(world: World) -> str:
    db = connect(world.platform.settings.service_db_url("graph"))
    async with db.read() as connection:
        stored: str = (await connection.exec_driver_sql("SELECT password_hash FROM accounts")).scalar_one()
    await db.close()
    assert stored.startswith("$argon2id$")
    return stored


async def test_a_full_queue_refuses_instead_of_growing_and_is_not_a_wrong_password(tmp_path: Path) -> None:
    async with open_world(tmp_path, password_threads=1, password_queue=1, wrong_passwords_per_account=20) as world:
        await world.sign_up("anna")
        answers = await asyncio.gather(*(world.log_in("anna") for _ in range(20)), return_exceptions=True)
        refused = [answer.reason for answer in answers if isinstance(answer, AppError)]
        assert set(refused) <= {Reason.UNAVAILABLE}
        await world.log_in("anna")


async def test_settings_default_to_strong_hashes() -> None:
    settings = GraphSettings()
    assert (settings.password_time_cost, settings.password_memory_kib) == (3, 65536)
