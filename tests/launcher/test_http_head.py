"""Heads of requests without an end, over a real server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import launcher.http_head
from launcher.http_head import MAX_HEAD_BYTES, BoundedHead

GOOD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000


async def _length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = Starlette(routes=[Route("/", _length, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, http=BoundedHead, lifespan="off", log_level="error"))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await task


async def _answers(port: int, *sent: bytes) -> bytes:
    """All that the server says to `sent`, until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for data in sent:
            writer.write(data)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return b"reset"
    finally:
        writer.close()


async def test_bodies_are_not_counted_and_requests_follow_one_another(port: int) -> None:
    last = GOOD.replace(b"Host: x", b"Host: x\r\nConnection: close")
    assert (await _answers(port, GOOD, GOOD, last)).count(b"\r\n\r\n200000") == 3


@pytest.mark.parametrize("line", [b"X-%d: y\r\n" % 1, b"y"], ids=["many headers", "one endless header"])
async def test_a_head_without_an_end_is_refused(port: int, line: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX: "
    answer = await _answers(port, head, line * (MAX_HEAD_BYTES // len(line) + 1), *[line * 10_000] * 20)
    assert answer == b"reset" or answer.startswith(b"HTTP/1.1 400")


async def test_a_head_that_does_not_come_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher.http_head, "HEAD_TIMEOUT_S", 0.05)
    assert await _answers(port, b"POST / HTTP/1.1\r\nHost: x\r\n") == b""
    assert await _answers(port) == b""
