"""The methods of a cache, by the few that its adapters have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from svc_kit.cache import Call, Script, Subscription, Word
from svc_kit.caches.node import Node


class Commands(ABC):
    """`svc_kit.cache.Cache` but for what depends on how many servers there are."""

    publish_command = "PUBLISH"

    @abstractmethod
    async def replies(self, calls: Sequence[Call]) -> list[Any]:
        """See `Cache.replies`."""

    @abstractmethod
    def subscribe(self) -> AbstractAsyncContextManager[Subscription]:
        """See `Cache.subscribe`."""

    @abstractmethod
    async def nodes(self) -> Sequence[Node]:
        """The servers that hold keys. Raises `CacheError` when they can't be found out."""

    @abstractmethod
    async def aclose(self) -> None:
        """See `Cache.aclose`."""

    async def get(self, key: str) -> bytes | None:
        found: bytes | None = await self.call(key, "GET")
        return found

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        replies = await self.replies([Call(key, ("GET", key)) for key in keys])
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if errors and len(errors) == len(replies):
            raise errors[0]
        return [None if isinstance(reply, Exception) else reply for reply in replies]

    async def set(self, key: str, value: Word, *, ttl_ms: int) -> None:
        await self.call(key, "SET", value, "PX", ttl_ms)

    async def call(self, key: str, command: str, *args: Word) -> Any:
        return _checked(await self.replies([Call(key, (command, key, *args))]))[0]

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Word] = ()) -> Any:
        return _checked(await self.replies([script.call(keys, args)]))[0]

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        return _checked(await self.replies(calls)) if calls else []

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        await self.batch([Call(channel, (self.publish_command, channel, data)) for channel, data in messages])

    async def ping(self) -> None:
        await self._everywhere("PING")

    async def flushall(self) -> None:
        await self._everywhere("FLUSHALL", "ASYNC")

    async def _everywhere(self, *words: str) -> None:
        for node in await self.nodes():
            _checked(await node.execute([Call("", words)]))


def _checked(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
