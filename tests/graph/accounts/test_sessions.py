"""Ending and listing sessions, and hearing of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from graph_svc.accounts.stores.sql import SqlAccountStore
from graph_svc.schema import outbox, replies
from reelgraph.graph.v1 import accounts_pb2 as pb
from svc_kit.caller import Caller
from svc_kit.db import connect
from svc_kit.errors import AppError, Reason, UserCode
from svc_kit.rpc.client import AS_SERVICE
from svc_kit.sessions import SessionCache
from svc_kit.uow import UnitOfWork
from tests.graph.accounts.conftest import World, viewer
from tests.support.cache import take_down

KEY = "0123456789abcdef"


async def test_logging_out_ends_ones_own_session_and_again_succeeds(world: World) -> None:
    first, other = await world.sign_up(), await world.log_in()
    for _ in range(2):
        answer = await world.call("LogOut", pb.LogOutRequest(), viewer(first))
        assert answer.revoked_session_id == first.session.id
    assert not await world.is_active(first.session.id)
    assert await world.is_active(other.session.id)


async def test_a_session_of_ones_own_can_be_ended_from_another(world: World) -> None:
    first, other = await world.sign_up(), await world.log_in()
    request = pb.RevokeSessionRequest(session_id=first.session.id)
    assert (await world.call("RevokeSession", request, viewer(other))).revoked_session_id == first.session.id
    listed = (await world.call("ListSessions", pb.ListSessionsRequest(), viewer(other))).sessions
    assert [s.id for s in listed] == [other.session.id]


async def test_somebody_elses_session_is_not_there(world: World) -> None:
    anna, boris = await world.sign_up("anna"), await world.sign_up("boris")
    for session_id in (anna.session.id, 12345):
        with pytest.raises(AppError) as refused:
            await world.call("RevokeSession", pb.RevokeSessionRequest(session_id=session_id), viewer(boris))
        assert [(v.field, v.code) for v in refused.value.violations] == [("session_id", UserCode.NOT_FOUND)]
    assert await world.is_active(anna.session.id)


async def test_the_same_key_answers_as_at_first_and_refuses_another_input(world: World) -> None:
    first, second, third = await world.sign_up(), await world.log_in(), await world.log_in()
    request = pb.RevokeSessionRequest(session_id=first.session.id)
    answer = await world.call("RevokeSession", request, viewer(third), KEY)
    assert await world.call("RevokeSession", request, viewer(third), KEY) == answer
    with pytest.raises(AppError) as refused:
        other = pb.RevokeSessionRequest(session_id=second.session.id)
        await world.call("RevokeSession", other, viewer(third), KEY)
    assert refused.value.user_code is UserCode.KEY_REUSED
    assert await world.is_active(second.session.id)


async def test_unknown_and_ended_sessions_are_not_active(world: World) -> None:
    first, second = await world.sign_up(), await world.log_in()
    await world.call("LogOut", pb.LogOutRequest(), viewer(first))
    request = pb.BatchGetSessionStatesRequest(session_ids=[77, second.session.id, first.session.id, second.session.id])
    answer = await world.call("BatchGetSessionStates", request)
    assert list(answer.active_session_ids) == [second.session.id]


async def test_what_services_alone_may_ask_viewers_may_not(world: World) -> None:
    anna = viewer(await world.sign_up())
    asked = [
        ("BatchGetSessionStates", pb.BatchGetSessionStatesRequest()),
        ("ListAccounts", pb.ListAccountsRequest()),
        ("BatchGetInterests", pb.BatchGetInterestsRequest()),
    ]
    for method, request in asked:
        with pytest.raises(AppError) as refused:
            await world.call(method, request, anna)
        assert refused.value.reason is Reason.FORBIDDEN
        with pytest.raises(AppError) as refused:
            await world.call(method, request, Caller())
        assert refused.value.reason is Reason.UNAUTHENTICATED


async def test_a_watcher_hears_of_every_revocation_and_the_cache_forgets(world: World) -> None:
    first, second, third = await world.sign_up(), await world.log_in(), await world.log_in()
    cache = SessionCache(world.platform.cache)
    ids = [first.session.id, second.session.id, third.session.id]
    await cache.remember(dict.fromkeys(ids, True))

    call = world.stub.StreamRevokedSessions(
        pb.StreamRevokedSessionsRequest(), metadata=world.platform.peer.metadata(AS_SERVICE)
    )
    await call.initial_metadata()
    await world.call("LogOut", pb.LogOutRequest(), viewer(first))
    await world.refresh(second.refresh_token)
    with pytest.raises(AppError):
        await world.refresh(second.refresh_token)
    async with asyncio.timeout(10):
        heard = [(await call.read()).session_id for _ in range(2)]
    call.cancel()

    assert heard == ids[:2]
    assert await cache.known(ids) == {ids[0]: False, ids[1]: False, ids[2]: True}
    # A reader that asked the truth before the revocation comes too late.
    await cache.remember({ids[0]: True})
    assert await cache.known(ids[:1]) == {ids[0]: False}


async def test_a_session_ends_also_while_the_cache_is_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await world.sign_up()
    take_down(world.platform.cache, monkeypatch)
    await world.call("LogOut", pb.LogOutRequest(), viewer(first))
    assert not await world.is_active(first.session.id)


async def test_sessions_that_are_over_are_removed_a_day_later_with_their_tokens(world: World) -> None:
    first, second = await world.sign_up(), await world.log_in()
    await world.call("LogOut", pb.LogOutRequest(), viewer(first))
    db = connect(world.platform.settings.service_db_url("graph"))
    store = SqlAccountStore(UnitOfWork(db, outbox, replies, world.platform.ids, world.clock))
    now = int(world.clock.now().timestamp() * 1000)
    assert await store.prune_sessions(now, 10) == 0
    assert await store.prune_sessions(now + 1, 10) == 1
    await db.close()
    assert await world.is_active(second.session.id)
    with pytest.raises(AppError):
        await world.refresh(first.refresh_token)


async def test_a_service_without_the_sessions_token_cannot_log_it_out(world: World) -> None:
    first = await world.sign_up()
    service = replace(AS_SERVICE, user_id=first.account.id)
    with pytest.raises(AppError) as refused:
        await world.call("LogOut", pb.LogOutRequest(), service)
    assert refused.value.reason is Reason.UNAUTHENTICATED
