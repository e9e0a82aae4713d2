"""Publishing to Kafka: an idempotent producer behind a thread, with a bound on the bytes under way."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kafka import KafkaProducer

from svc_kit.bus.kafka_config import MAX_MESSAGE_BYTES, KafkaSettings, as_unavailable, connect
from svc_kit.bus.kafka_wire import Message
from svc_kit.errors import unavailable

MAX_PIECE_BYTES = 4 << 20
MAX_UNDER_WAY_BYTES = 32 << 20
MAX_WAITING = 4096
BATCH_BYTES = 1 << 20
LINGER_MS = 5
"""So that what is published together goes out as one batch a partition. Costs each `publish` as much."""


class Publisher:
    """Sends messages durably (acks of all replicas in sync). One event loop.

    The producer is made with the first message, and made anew after any failure: whatever became of its sequence
    numbers, the next one begins with its own, and nothing that was given up is sent after what follows it.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, "kafka-send")
        self._producer: Any = None
        self._lock = threading.Lock()
        self._room = _Room(MAX_UNDER_WAY_BYTES)
        self._closed = False

    async def send(self, messages: Sequence[Message]) -> None:
        """Append; durable on return. Raises UNAVAILABLE within the settings' `timeout_s`."""
        producer = self._producer
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                for piece, size in _pieces(messages):
                    await self._send_piece(piece, size)
        except TimeoutError as error:
            self._submit(self._replace, producer)
            raise as_unavailable(error, "publishing") from error

    async def _send_piece(self, piece: Sequence[Message], size: int) -> None:
        if self._closed:
            raise unavailable("The event bus is closed.")
        await self._room.take(size)
        sending = _Sending(piece, functools.partial(self._room.give, size))
        if not self._submit(self._hand_over, sending):
            sending.finish(RuntimeError("closed"))
        try:
            await asyncio.shield(sending.done)
        except asyncio.CancelledError:
            sending.give_up()
            raise
        except Exception as error:
            self._submit(self._replace, sending.producer)
            raise as_unavailable(error, "publishing") from error

    def _submit(self, work: Callable[..., None], *arguments: object) -> bool:
        """Run something in the sending thread; false once that has ended."""
        try:
            self._thread.submit(work, *arguments)
        except RuntimeError:
            return False
        return True

    def _hand_over(self, sending: _Sending) -> None:
        """In the sending thread."""
        if not sending.begin():
            return
        try:
            if self._producer is None:
                producer = connect(KafkaProducer, producer_configs(self._settings))
                with self._lock:
                    if not self._closed:
                        self._producer = producer
                if self._producer is None:
                    _discard(producer)
                    raise RuntimeError("closed")
            sending.producer = self._producer
            sending.send()
        except Exception as error:
            sending.finish(error)

    def _replace(self, failed: Any) -> None:
        """In the sending thread: let go of a producer that failed."""
        if failed is not None and self._producer is failed:
            self._producer = None
            _discard(failed)

    async def close(self) -> None:
        """Finish what is under way, for at most `timeout_s`. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        await self._room.empty(self._settings.timeout_s)
        producer, self._producer = self._producer, None
        if producer is not None:
            await asyncio.to_thread(_discard, producer)
        self._thread.shutdown(wait=False, cancel_futures=True)


def producer_configs(settings: KafkaSettings) -> dict[str, Any]:
    """What the producer is configured with."""
    return settings.client("producer") | {
        "acks": "all",
        "enable_idempotence": True,
        "allow_auto_create_topics": False,
        "linger_ms": LINGER_MS,
        "batch_size": BATCH_BYTES,
        "max_request_size": 4 * MAX_MESSAGE_BYTES,
        "delivery_timeout_ms": settings.timeout_ms + LINGER_MS,
        "max_block_ms": settings.timeout_ms,
        "metrics_enabled": False,
    }


class _Sending:
    """One piece of a `publish`: from the event loop to the sending thread, and back from the producer's thread."""

    def __init__(self, messages: Sequence[Message], release: Callable[[], None]) -> None:
        self._messages = messages
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._release = release
        self.done.add_done_callback(self._ended)
        self.producer: Any = None
        self._lock = threading.Lock()
        self._state = "waiting"
        self._futures: list[Any] = []
        self._missing = 0

    def _ended(self, done: asyncio.Future[None]) -> None:
        if not done.cancelled():
            done.exception()  # whoever waited may have gone: it is no error that nobody looked at
        self._release()

    def begin(self) -> bool:
        """Whether to go on: nobody has given it up."""
        with self._lock:
            if self._state != "waiting":
                return False
            self._state = "sending"
            return True

    def give_up(self) -> None:
        """Nobody waits any longer: it is not sent, unless the producer has it already."""
        with self._lock:
            begun, self._state = self._state == "sending", "given up"
        if not begun:
            self.finish(RuntimeError("given up"))

    def send(self) -> None:
        """Give all to the producer."""
        send = self.producer.send
        futures = [
            send(topic, value, key, headers, partition) for topic, partition, key, value, headers in self._messages
        ]
        # Batches of a partition end in their order, so its last record tells of all: no callback a record.
        last = {(m.topic, m.partition): future for m, future in zip(self._messages, futures, strict=True)}
        self._futures, self._missing = futures, len(last)
        for future in last.values():
            future.add_both(self._part_done)

    def _part_done(self, _result: object) -> None:
        with self._lock:
            self._missing -= 1
            if self._missing:
                return
        failed = next((f.exception for f in self._futures if f.exception is not None), None)
        if failed is None and not all(f.is_done for f in self._futures):
            failed = RuntimeError("a batch ended before an earlier one of its partition")
        self.finish(failed)

    def finish(self, error: BaseException | None) -> None:
        """From any thread: tell the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._finish, error)

    def _finish(self, error: BaseException | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class _Room:
    """Bytes that may be under way; first come, first served, and a bounded queue."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()

    async def take(self, size: int) -> None:
        if not self._waiting and self._used + size <= self._most:
            self._use(size)
            return
        if len(self._waiting) >= MAX_WAITING:
            raise unavailable("The event bus can't keep up.")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (size, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(entry)
                self._admit()
            raise

    def give(self, size: int) -> None:
        self._used -= size
        if not self._used:
            self._idle.set()
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._used + self._waiting[0][0] <= self._most:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._use(size)
                turn.set_result(None)

    def _use(self, size: int) -> None:
        self._used += size
        self._idle.clear()

    async def empty(self, seconds: float) -> None:
        """Wait until nothing is under way, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()


def _pieces(messages: Sequence[Message]) -> Iterator[tuple[Sequence[Message], int]]:
    """Messages in order, in pieces of bounded bytes."""
    start = size = 0
    for index, message in enumerate(messages):
        bytes_of = len(message.key) + len(message.value or b"") + 128
        if size and size + bytes_of > MAX_PIECE_BYTES:
            yield messages[start:index], size
            start, size = index, 0
        size += bytes_of
    if start < len(messages):
        yield messages[start:], size


def _discard(producer: Any) -> None:
    """Close a producer at once. The driver's own `close(0)` only raises while something is under way."""
    with contextlib.suppress(Exception):
        producer._sender.force_close()
        producer.close(timeout=1)
