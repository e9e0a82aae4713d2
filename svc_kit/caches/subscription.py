"""Subscriptions over one connection."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

from redis.asyncio.client import PubSub

from svc_kit.cache import CacheDown, CacheError, Message

QUIET_S = 10.0
"""After so long without a message the server is asked for a sign of life, and given as long again."""


class NodeSubscription:
    """`svc_kit.cache.Subscription` on one server; `sharded`: by SSUBSCRIBE, whose channels have a slot as keys have."""

    def __init__(self, pubsub: PubSub, *, sharded: bool, timeout_s: float) -> None:
        self._pubsub = pubsub
        self._prefix = "s" if sharded else ""
        self._timeout_s = timeout_s
        self._wanted: set[str] = set()
        self._leaving: Counter[str] = Counter()
        self._reads = asyncio.Event()
        self._heard_at = 0.0
        self._asked = False

    async def add(self, *channels: str) -> None:
        if not channels:
            return
        self._wanted.update(channels)
        await self._send(f"{self._prefix}subscribe", channels)
        self._reads.set()

    async def remove(self, *channels: str) -> None:
        self._wanted.difference_update(channels)
        self._leaving.update(channels)
        if not self._wanted:
            self._reads.clear()
        await self._send(f"{self._prefix}unsubscribe", channels)

    async def next(self, timeout_s: float) -> Message | None:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while True:
            if not self._reads.is_set() or not self._heard_at:
                self._heard_at = loop.time()
            wait_s = min(end, self._heard_at + QUIET_S) - loop.time()
            raw = await self._read(max(wait_s, 0.001))
            if raw is not None:
                self._heard_at, self._asked = loop.time(), False
                message = self._message(raw)
                if message is not None:
                    return message
            elif loop.time() >= self._heard_at + QUIET_S:
                await self._ask(loop.time())
            if loop.time() >= end:
                return None

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _send(self, command: str, channels: tuple[str, ...]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await getattr(self._pubsub, command)(*channels)
        except TimeoutError as error:
            raise CacheDown("a subscription was not answered in time") from error
        except OSError as error:
            raise CacheDown(f"a subscription was lost: {error}") from error

    async def _read(self, timeout_s: float) -> dict[str, Any] | None:
        if not self._reads.is_set():
            # Without any channel there may be no connection to read.
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._reads.wait()
            return None
        try:
            found: dict[str, Any] | None = await self._pubsub.get_message(timeout=timeout_s)
        except OSError as error:
            raise CacheDown(f"a subscription was lost: {error}") from error
        return found

    async def _ask(self, now: float) -> None:
        if self._asked:
            raise CacheDown("a subscription is silent")
        self._asked, self._heard_at = True, now
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._pubsub.ping()
        except (CacheError, OSError, TimeoutError) as error:
            raise CacheDown(f"a subscription was lost: {error}") from error

    def _message(self, raw: dict[str, Any]) -> Message | None:
        kind: str = raw["type"]
        channel = raw["channel"].decode() if raw["channel"] is not None else ""
        if kind in ("message", "smessage"):
            return Message(channel, raw["data"])
        if kind in ("subscribe", "ssubscribe"):
            return Message(channel, None)
        if kind in ("unsubscribe", "sunsubscribe"):
            if self._leaving[channel] > 0:
                self._leaving -= Counter([channel])
            elif channel in self._wanted:
                raise CacheDown("a channel's slot has moved")
        return None
