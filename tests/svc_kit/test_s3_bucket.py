"""A store that is away is asked now and then, not by everybody; what it refuses is an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from svc_kit.errors import AppError, Reason
from svc_kit.s3.address import parse_address
from svc_kit.s3.bucket import CALL_S, TRANSFER_S, Bucket, S3Refused, open_bucket
from tests.support.clock import FakeClock

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
BROKEN = NOT_FOUND.replace(b"404 Not Found", b"500 Internal Server Error")


class Store:
    """Gives every request the same answer; empty: it hangs up; None: it is silent."""

    def __init__(self) -> None:
        self.answer: bytes | None = NOT_FOUND
        self.asked: list[bytes] = []
        """Methods; the client asks once more where it was hung up on."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).partition(b" ")[0])
        if self.answer is None:
            await reader.read()
        else:
            writer.write(self.answer)
        writer.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store() -> Store:
    return Store()


@pytest.fixture
async def bucket(store: Store, clock: FakeClock) -> AsyncIterator[Bucket]:
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        address = parse_address(f"s3://key:secret@{host}:{port}/media?secure=false")
        opened = await open_bucket(address, attempts=1, clock=clock)
        yield opened
        await opened.close()


async def fail_until_guarded(bucket: Bucket) -> None:
    for _ in range(3):
        with pytest.raises(AppError) as failed:
            await bucket.head("a")
        assert failed.value.reason is Reason.UNAVAILABLE


@pytest.mark.parametrize("answer", [b"", BROKEN])
async def test_a_store_that_fails_is_asked_once_in_a_while(
    bucket: Bucket, store: Store, clock: FakeClock, answer: bytes
) -> None:
    store.answer = answer
    await fail_until_guarded(bucket)
    before = len(store.asked)
    for _ in range(20):
        with pytest.raises(AppError) as refused:
            await bucket.head("a")
        assert refused.value.reason is Reason.UNAVAILABLE and refused.value.retry_after_ms
    assert len(store.asked) == before
    clock.advance(1)
    outcomes = await asyncio.gather(*(bucket.head("a") for _ in range(20)), return_exceptions=True)
    assert all(isinstance(outcome, AppError) for outcome in outcomes)
    assert 1 <= len(store.asked) - before <= 2


async def test_it_goes_on_when_the_store_is_back(bucket: Bucket, store: Store, clock: FakeClock) -> None:
    store.answer = b""
    await fail_until_guarded(bucket)
    store.answer = NOT_FOUND
    clock.advance(1)
    assert [await bucket.head("a") for _ in range(3)] == [None] * 3


async def test_what_may_take_minutes_is_no_probe(bucket: Bucket, store: Store, clock: FakeClock) -> None:
    store.answer = b""
    await fail_until_guarded(bucket)
    clock.advance(1)
    with pytest.raises(AppError):
        await bucket.call("put_object", TRANSFER_S, Key="a", Body=b"x")
    assert set(store.asked) == {b"HEAD"}, "a quick call looks whether it is back, and the body stays here"


async def test_a_refusal_is_an_answer(bucket: Bucket, store: Store) -> None:
    assert [await bucket.head("a") for _ in range(20)] == [None] * 20
    assert len(store.asked) == 20


async def test_a_store_that_fails_now_and_then_is_asked_by_everybody(bucket: Bucket, store: Store) -> None:
    for _ in range(10):
        store.answer = BROKEN
        with pytest.raises(AppError):
            await bucket.head("a")
        store.answer = NOT_FOUND
        assert await bucket.head("a") is None


async def given_up(bucket: Bucket, store: Store, clock: FakeClock, operation: str, seconds: float) -> None:
    """Three callers wait for `operation`, which may take `seconds`, and go away after five."""
    before = len(store.asked)
    waiting = [asyncio.create_task(bucket.call(operation, seconds, Key="a")) for _ in range(3)]
    while len(store.asked) < before + 3:
        await asyncio.sleep(0.001)
    clock.advance(5)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_transfers_that_are_called_off_are_no_failures(bucket: Bucket, store: Store, clock: FakeClock) -> None:
    store.answer = None
    await given_up(bucket, store, clock, "put_object", TRANSFER_S)
    store.answer = NOT_FOUND
    assert await bucket.head("a") is None


async def test_a_silent_store_is_not_waited_for_by_everybody(bucket: Bucket, store: Store, clock: FakeClock) -> None:
    store.answer = None
    await given_up(bucket, store, clock, "head_object", CALL_S)
    before = len(store.asked)
    for _ in range(20):
        with pytest.raises(AppError):
            await bucket.head("a")
    assert len(store.asked) == before


@pytest.mark.parametrize(
    ("code", "status", "is_lasting"),
    [
        ("AccessDenied", 403, True),
        ("AccessDenied", 200, True),
        ("InvalidObjectState", 403, True),
        ("EntityTooSmall", 400, True),
        ("403", 403, True),
        ("RequestTimeout", 400, False),
        ("RequestTimeTooSkewed", 403, False),
        ("ExpiredToken", 400, False),
        ("OperationAborted", 409, False),
        ("408", 408, False),
        ("TooManyRequests", 429, False),
        ("SlowDown", 503, False),
        ("InternalError", 500, False),
    ],
)
def test_a_refusal_lasts_when_the_request_is_at_fault(code: str, status: int, is_lasting: bool) -> None:
    refused = S3Refused(code, status)
    assert refused.is_lasting is is_lasting and refused.reason is Reason.UNAVAILABLE
