"""Signing up."""

from __future__ import annotations

from pathlib import Path

import pytest

from reelgraph.graph.v1 import accounts_pb2 as pb
from svc_kit.caller import Caller, Role
from svc_kit.errors import AppError, Reason, UserCode
from tests.graph.accounts.conftest import PASSWORD, World, open_world
from tests.support.platform import emitted


async def test_signing_up_makes_an_account_a_session_and_tokens_that_verify(world: World) -> None:
    made = await world.sign_up("Anna_1", display_name=" Anna ", device="phone")

    assert (made.account.username, made.account.display_name, made.account.bio) == ("Anna_1", "Anna", "")
    assert made.session.device == "phone"
    assert made.session.current
    claims = await world.verifier.verify(made.access_token)
    assert (claims.user_id, claims.session_id, claims.role) == (made.account.id, made.session.id, Role.USER)
    assert made.access_expires_at.ToMilliseconds() == claims.expires_at * 1000
    assert await world.is_active(made.session.id)
    read = await world.call("BatchGetAccounts", pb.BatchGetAccountsRequest(ids=[404, made.account.id]), Caller())
    assert list(read.accounts) == [made.account]


async def test_signing_up_emits_the_profile_once(world: World) -> None:
    made = await world.sign_up("anna")
    (event,) = await emitted(world.platform, "graph")
    assert (event.entity, event.entity_version, event.actor_id) == (f"account:{made.account.id}", 1, made.account.id)
    assert event.account_created.profile.username == "anna"


@pytest.mark.parametrize("again", ["anna", "ANNA", "ａｎｎａ"])
async def test_a_name_that_compares_equal_is_taken(world: World, again: str) -> None:
    await world.sign_up("anna")
    with pytest.raises(AppError) as refused:
        await world.sign_up(again)
    assert refused.value.violations[0].field == "username"
    assert refused.value.user_code is UserCode.TAKEN
    assert len(await emitted(world.platform, "graph")) == 1


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"username": ""}, "username", UserCode.REQUIRED),
        ({"username": "ab"}, "username", UserCode.TOO_SHORT),
        ({"username": "a" * 31}, "username", UserCode.TOO_LONG),
        ({"username": "an na"}, "username", UserCode.INVALID),
        ({"username": "anna\n"}, "username", UserCode.INVALID),
        ({"username": "<b>anna"}, "username", UserCode.INVALID),
        ({"username": "ﷺﷺﷺ"}, "username", UserCode.INVALID),
        ({"username": "anna\ufe0f"}, "username", UserCode.INVALID),
        ({"username": "an\u200bna"}, "username", UserCode.INVALID),
        ({"username": "\u3164\u3164\u3164"}, "username", UserCode.INVALID),
        ({"username": "._."}, "username", UserCode.INVALID),
        ({"username": "\u0301\u0301\u0301"}, "username", UserCode.INVALID),
        ({"password": "short"}, "password", UserCode.TOO_SHORT),
        ({"password": "x" * 257}, "password", UserCode.TOO_LONG),
        ({"display_name": " "}, "display_name", UserCode.TOO_SHORT),
        ({"display_name": "\u200b"}, "display_name", UserCode.TOO_SHORT),
        ({"display_name": "x" * 51}, "display_name", UserCode.TOO_LONG),
        ({"display_name": "a\x00b"}, "display_name", UserCode.INVALID),
    ],
)
async def test_bad_input_names_its_field_and_writes_nothing(
    world: World, fields: dict[str, str], field: str, code: UserCode
) -> None:
    with pytest.raises(AppError) as refused:
        await world.call("SignUp", pb.SignUpRequest(**{"username": "anna", "password": PASSWORD, **fields}))
    assert [(v.field, v.code) for v in refused.value.violations] == [(field, code)]
    assert not (await world.call("ListAccounts", pb.ListAccountsRequest())).accounts


async def test_names_in_other_scripts_are_welcome(world: World) -> None:
    for name in ("дарья", "हिन्दी", "さくら_1", "j.r.r"):
        assert (await world.sign_up(name)).account.username == name


async def test_an_address_signs_up_only_so_often_in_a_window(tmp_path: Path) -> None:
    async with open_world(tmp_path, sign_ups_per_address=2) as world:
        for n in range(2):
            await world.sign_up(f"user{n}", client_address="203.0.113.7")
        with pytest.raises(AppError) as refused:
            await world.sign_up("user3", client_address="203.0.113.7")
        assert refused.value.reason is Reason.RATE_LIMITED
        assert refused.value.retry_after_ms == 600_000
        await world.sign_up("user4", client_address="203.0.113.8")
        world.clock.advance(600)
        await world.sign_up("user3", client_address="203.0.113.7")


async def test_one_ipv6_customer_is_one_address(tmp_path: Path) -> None:
    async with open_world(tmp_path, sign_ups_per_address=2) as world:
        for n in range(2):
            await world.sign_up(f"user{n}", client_address=f"2001:db8::{n}")
        with pytest.raises(AppError) as refused:
            await world.sign_up("user3", client_address="2001:db8::3")
        assert refused.value.reason is Reason.RATE_LIMITED
        await world.sign_up("user3", client_address="2001:db8:0:1::3")


async def test_only_a_service_may_tell_the_clients_address(world: World) -> None:
    request = pb.SignUpRequest(username="anna", password=PASSWORD, client_address="203.0.113.7")
    with pytest.raises(AppError) as refused:
        await world.call("SignUp", request, Caller())
    assert refused.value.reason is Reason.FORBIDDEN


async def test_a_name_that_would_moderate_cannot_be_signed_up(tmp_path: Path) -> None:
    async with open_world(tmp_path, moderator_usernames="the_boss, other") as world:
        with pytest.raises(AppError) as refused:
            await world.sign_up("THE_BOSS")
    assert refused.value.user_code is UserCode.TAKEN
