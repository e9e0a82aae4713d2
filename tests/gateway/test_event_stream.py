"""Operations over graphql-sse, distinct connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from gateway.ids import Kind, encode
from tests.support.clock import FakeClock
from tests.support.gateway_fakes import Bench
from tests.support.gateway_socket import until

NOTIFICATIONS = "subscription { notificationReceived { kind } }"
COMMENTS = "subscription($v: ID!, $after: ID) { commentAdded(videoId: $v, after: $after) { text } }"


@asynccontextmanager
async def stream(
    bench: Bench, query: str, variables: dict[str, Any] | None = None, **headers: str
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[tuple[str, Any]]]]:
    """An open stream: its response, and its events as (name, data); comments are (`:`, None)."""
    sent = {"accept": "text/event-stream", **headers}
    async with bench.http.stream("POST", "/graphql", json={"query": query, "variables": variables}, headers=sent) as r:
        yield r, _events(r)


async def _events(response: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data:"):
            text = line.removeprefix("data:").strip()
            yield name, json.loads(text) if text else None
        elif line.startswith(":"):
            yield ":", None


async def test_a_query_is_one_event_and_then_complete(bench: Bench) -> None:
    async with stream(bench, "{ __typename }") as (response, events):
        found = [event async for event in events]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "private, no-store, no-transform"
    assert [name for name, _ in found] == [":", "next", "complete"]
    assert found[1][1]["data"] == {"__typename": "Query"}


async def test_comments_come_as_they_are_written(bench: Bench) -> None:
    ada = bench.world.add_user("ada")
    video = bench.world.add_video(ada.id)
    async with stream(bench, COMMENTS, {"v": encode(Kind.VIDEO, video.id)}) as (_, events):
        assert await anext(events) == (":", None)
        await until(lambda: bool(bench.world.comment_streams))
        bench.world.add_comment(video.id, ada.id, "hello")
        name, body = await anext(events)
        assert (name, body["data"]) == ("next", {"commentAdded": {"text": "hello"}})
    await until(lambda: not bench.world.comment_streams)


async def test_errors_are_an_event_too(bench: Bench) -> None:
    for query, authorization, code in (
        ("{ nope }", "", "GRAPHQL_VALIDATION_FAILED"),
        (NOTIFICATIONS, "", "UNAUTHENTICATED"),
        (NOTIFICATIONS, "Bearer nonsense", "UNAUTHENTICATED"),
    ):
        async with stream(bench, query, authorization=authorization) as (response, events):
            found = [event async for event in events if event[0] != ":"]
        assert response.status_code == 200
        assert [name for name, _ in found] == ["next", "complete"]
        assert found[0][1]["errors"][0]["extensions"]["code"] == code


async def test_a_revoked_session_ends_the_stream(bench: Bench) -> None:
    me = bench.log_in(bench.world.add_user("me").id)
    await until(lambda: bool(bench.world.revoked))
    async with stream(bench, NOTIFICATIONS, authorization=f"Bearer {me.token}") as (_, events):
        assert await anext(events) == (":", None)
        await until(lambda: bool(bench.world.notification_streams))
        bench.world.revoke(me.session_id)
        found = [event async for event in events]
    assert found[0][1]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert found[1:] == [("complete", None)]


async def test_heartbeats_keep_a_quiet_stream_open(bench: Bench) -> None:
    clock = bench.platform.clock
    assert isinstance(clock, FakeClock)
    me = bench.log_in(bench.world.add_user("me").id)
    async with stream(bench, NOTIFICATIONS, authorization=f"Bearer {me.token}") as (_, events):
        assert await anext(events) == (":", None)
        await until(lambda: bool(bench.world.notification_streams))
        clock.advance(16)
        assert await anext(events) == (":", None)


async def test_a_stopping_gateway_ends_streams_without_complete(bench: Bench) -> None:
    me = bench.log_in(bench.world.add_user("me").id)
    async with stream(bench, NOTIFICATIONS, authorization=f"Bearer {me.token}") as (_, events):
        await until(lambda: bool(bench.world.notification_streams))
        await asyncio.gather(bench.gateway.drain(1.0))
        assert [name async for name, _ in events] == [":"]


async def test_a_page_of_another_origin_gets_no_stream(bench: Bench) -> None:
    async with stream(bench, NOTIFICATIONS, origin="https://evil.test") as (response, _):
        assert response.status_code == 403
