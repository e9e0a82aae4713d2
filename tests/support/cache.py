"""Caches in tests: of every engine, empty, and taken down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from svc_kit.cache import Cache, CacheDown, Call, open_cache
from svc_kit.caches.commands import Commands
from tests.support.engines import server_url, servers

CACHES = ["memory", *servers("redis", "redis-cluster")]


@asynccontextmanager
async def empty_cache(engine: str) -> AsyncIterator[Cache]:
    """An empty cache of one of `CACHES`."""
    cache = await open_cache("memory://" if engine == "memory" else server_url(engine))
    try:
        await cache.flushall()
        yield cache
    finally:
        await cache.aclose()


def take_down(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no call is answered."""

    async def replies(calls: Sequence[Call]) -> list[Any]:
        return [CacheDown("taken down")] * len(calls)

    monkeypatch.setattr(cache, "replies", replies)


async def keys(cache: Cache, pattern: str = "*") -> list[str]:
    """All keys like a pattern, on all servers."""
    assert isinstance(cache, Commands)
    found: list[str] = []
    for node in await cache.nodes():
        (reply,) = await node.execute([Call("", ("KEYS", pattern))])
        found += [key.decode() for key in reply]
    return found
