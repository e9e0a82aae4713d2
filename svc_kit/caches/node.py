"""One Redis server: calls bounded in number and time, refused at once while the server is down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from svc_kit.bus.waiting import Backoff
from svc_kit.cache import CacheDown, Call
from svc_kit.caches.address import LISTENERS, SPARE, Address
from svc_kit.caches.metrics import DOWN, FAILURES
from svc_kit.caches.subscription import NodeSubscription
from svc_kit.clock import Clock
from svc_kit.ending import cancel_all
from svc_kit.telemetry import log

WAITING = 1000
"""Calls that wait for a connection; more are refused."""
ASK_AGAIN = Backoff(0.1, 3.0)
_log = log(__name__)


class Node:
    """A server behind a breaker. Its first failure opens it: a cache is worth one deadline, not several. Then a task of
    its own asks the server, with growing pauses, until it answers: no caller waits for that."""

    def __init__(
        self, client: Redis, listener: Redis, clock: Clock, *, name: str, timeout_s: float, connections: int
    ) -> None:
        self.name = name
        self._client = client
        self._listener = listener
        self._clock = clock
        self._timeout_s = timeout_s
        self._places = asyncio.Semaphore(connections)
        self._waiting = 0
        self._down = False
        self._asking: asyncio.Task[None] | None = None

    @property
    def is_down(self) -> bool:
        """Calls are refused for now."""
        return self._down

    async def execute(self, calls: Sequence[Call], *, asking: bool = False) -> list[Any]:
        """Do calls in one round trip; answers in order, errors among them. `asking`: the slot is about to move here.

        Raises `CacheError` when the server did not answer, and then some of the calls may have been done."""
        now = asyncio.get_running_loop().time
        placed_at: float | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._take_place()
                placed_at = now()
                replies = await self._exchange(calls, asking)
        except TimeoutError as error:
            # Whoever waited for a connection for most of the time can't tell whether the server is slow.
            if placed_at is None or now() - placed_at < self._timeout_s / 2:
                FAILURES.labels(self.name, "busy").inc()
                raise RedisTimeoutError(f"{self.name} has no connection free") from error
            self._failed("timeout", error)
            raise RedisTimeoutError(f"{self.name} did not answer in time") from error
        except CacheDown:
            raise
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self._failed("connection", error)
            raise CacheDown(f"{self.name} can't be reached: {error}") from error
        except asyncio.CancelledError:
            # Whoever has less patience than this would otherwise never let a silent server be found out.
            if placed_at is not None and not self._down:
                self._watch(at_once=True)
            raise
        finally:
            if placed_at is not None:
                self._places.release()
        refused = next((reply for reply in replies if isinstance(reply, ReadOnlyError)), None)
        if refused is not None:
            # No longer the primary: new connections may lead to the one that its name stands for now.
            self._failed("readonly", refused)
        return replies

    def subscription(self, *, sharded: bool) -> NodeSubscription:
        """A subscription on a connection of its own."""
        if self._down:
            raise CacheDown(f"{self.name} is down")
        return NodeSubscription(self._listener.pubsub(), sharded=sharded, timeout_s=self._timeout_s)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._asking is not None:
            await cancel_all([self._asking])
        self._set_down(False)
        await self._client.aclose()
        await self._listener.aclose()

    async def _take_place(self) -> None:
        if self._down:
            raise CacheDown(f"{self.name} is down")
        if not self._places.locked():
            await self._places.acquire()
            return
        if self._waiting >= WAITING:
            raise CacheDown(f"too many calls wait for {self.name}")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        if self._down:
            self._places.release()
            raise CacheDown(f"{self.name} is down")

    async def _exchange(self, calls: Sequence[Call], asking: bool) -> list[Any]:
        replies = await self._send(calls, asking)
        unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if not unknown:
            return replies
        texts = {call.script.text for place in unknown if (call := calls[place]).script is not None}
        loads = [Call("", ("SCRIPT", "LOAD", text)) for text in texts]
        for reply in await self._send(loads, asking=False):
            if isinstance(reply, Exception):
                raise reply
        again = await self._send([calls[place] for place in unknown], asking)
        for place, reply in zip(unknown, again, strict=True):
            replies[place] = reply
        return replies

    async def _send(self, calls: Sequence[Call], asking: bool) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            if asking:
                _ = pipeline.execute_command("ASKING")  # Queued; `execute` sends.
            _ = pipeline.execute_command(*call.words)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies[1::2] if asking else replies

    def _failed(self, kind: str, error: BaseException) -> None:
        FAILURES.labels(self.name, kind).inc()
        if not self._down:
            _log.warning("cache server is down", server=self.name, kind=kind, error=str(error))
            self._set_down(True)
        self._watch(at_once=False)

    def _set_down(self, down: bool) -> None:
        self._down = down
        DOWN.labels(self.name).set(int(down))

    def _watch(self, *, at_once: bool) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(at_once), name=f"cache {self.name}")

    async def _ask(self, at_once: bool) -> None:
        attempt = 0
        while not (at_once and await self._answers()):
            at_once = True
            if not self._down:
                _log.warning("cache server is down", server=self.name, kind="silence")
                self._set_down(True)
            # Connections from before may be half dead; each would cost somebody another deadline.
            with suppress(RedisError, OSError):
                await self._client.connection_pool.disconnect(inuse_connections=False)
            attempt += 1
            await self._clock.sleep(ASK_AGAIN.delay(attempt))
        if self._down:
            _log.info("cache server answers again", server=self.name)
            self._set_down(False)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(self._timeout_s):
                (reply,) = await self._send([Call("", ("PING",))], asking=False)
        except (RedisError, OSError, TimeoutError):
            return False
        return not isinstance(reply, Exception)


def connect(address: Address, host: str, port: int, clock: Clock) -> Node:
    """A server of `address`; nothing is contacted yet."""
    return Node(
        address.client(host, port, connections=address.connections + SPARE),
        address.client(host, port, connections=LISTENERS),
        clock,
        name=f"{host}:{port}",
        timeout_s=address.timeout_s,
        connections=address.connections,
    )
