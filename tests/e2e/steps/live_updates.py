"""Subscriptions over WebSocket and SSE: delivery, resumption, the end of a session."""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.sockets import open_events, open_socket
from tests.e2e.world import PASSWORD, World

COMMENTS = (
    "subscription ($id: ID!, $after: ID) { commentAdded(videoId: $id, after: $after) { id text author { username } } }"
)
NOTES = "subscription ($after: ID) { notificationReceived(after: $after) { id kind actors { username } } }"


async def comment_reaches_another(world: World) -> None:
    """a comment reaches another logged-in socket, and one that comes back after a lost connection"""
    alice, bob, cat = await world.person("alice"), await world.person("bob"), world.videos["cat"]
    async with open_socket(world.url, alice.token) as socket:
        operation = await socket.subscribe(COMMENTS, {"id": cat})
        await asyncio.sleep(0.3)
        await bob.mutate("addComment", "comment { id }", videoId=cat, text="live one")
        got = await operation.next()
        assert got is not None and got["commentAdded"]["text"] == "live one"
        last = got["commentAdded"]["id"]
        await socket.drop()
    await bob.mutate("addComment", "comment { id }", videoId=cat, text="missed one")
    await bob.mutate("addComment", "comment { id }", videoId=cat, text="missed two")
    async with open_socket(world.url, alice.token) as socket:
        operation = await socket.subscribe(COMMENTS, {"id": cat, "after": last})
        texts = [(await operation.next() or {})["commentAdded"]["text"] for _ in range(2)]
        assert texts == ["missed one", "missed two"] and await operation.nothing()


async def notifications_once(world: World) -> None:
    """a like and a follow notify their receiver, once, over WebSocket and over SSE"""
    alice, erin = await world.person("alice"), await world.person("erin")
    async with (
        open_socket(world.url, alice.token) as socket,
        open_events(alice.http, world.url, alice.token, NOTES, {}) as events,
    ):
        operation = await socket.subscribe(NOTES)
        waiting = asyncio.ensure_future(anext(aiter(events)))
        await asyncio.sleep(0.3)
        await erin.mutate("likeVideo", "video { id }", videoId=world.videos["cat"])
        got = await operation.next()
        assert got is not None and got["notificationReceived"]["kind"] == "LIKE"
        by_sse = await asyncio.wait_for(waiting, 10)
        assert by_sse["notificationReceived"]["id"] == got["notificationReceived"]["id"]
        assert await operation.nothing()
        await erin.mutate("followUser", "user { id }", userId=alice.user_id)
        followed = await operation.next()
        assert followed is not None and followed["notificationReceived"]["kind"] == "FOLLOW"
        last = got["notificationReceived"]["id"]
    async with open_socket(world.url, alice.token) as socket:
        operation = await socket.subscribe(NOTES, {"after": last})
        missed = await operation.next()
        assert missed is not None and missed["notificationReceived"]["id"] == followed["notificationReceived"]["id"]


async def revoked(world: World) -> None:
    """a socket ends when its session is revoked; a bad token never opens one"""
    client = await world.client()
    await client.sign_up("shortlived", PASSWORD)
    async with open_socket(world.url, client.token) as socket:
        await socket.subscribe(NOTES)
        await asyncio.sleep(0.2)
        await client.mutate("logOut", "revokedSessionId")
        assert await socket.closed() == 4403
    for token in (client.token, "nonsense"):
        with pytest.raises(ConnectionClosed) as refused:
            async with open_socket(world.url, token):
                pass
        assert refused.value.rcvd is not None and refused.value.rcvd.code == 4403


STEPS = (comment_reaches_another, notifications_once, revoked)
