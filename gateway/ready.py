"""Values that a loader has already: a field that answers at once costs no task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from strawberry.dataloader import DataLoader

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")


def pick(loader: DataLoader[K, V], key: K, of: Callable[[V], R]) -> R:
    """What `of` reads from the loader's value; while that is not there, an awaitable of it, which GraphQL awaits:
    only resolvers may return it."""
    known: Any = loader.cache_map.get(key)
    if isinstance(known, asyncio.Future) and known.done() and not known.cancelled() and known.exception() is None:
        return of(known.result())
    return cast(R, _later(loader, key, of))


def same(value: V) -> V:
    """The value itself, for `pick`."""
    return value


async def _later(loader: DataLoader[K, V], key: K, of: Callable[[V], R]) -> R:
    return of(await loader.load(key))
