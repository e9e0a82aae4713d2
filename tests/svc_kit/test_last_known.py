"""What is remembered for outages of truth: the newest version wins, on whichever replica it was learnt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from svc_kit.cache import Cache, CacheError, open_cache
from svc_kit.last_known import ALONE_S, KEPT_S, SHARED_AGAIN_S, LastKnown
from tests.support.clock import FakeClock
from tests.support.engines import server_url, servers


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    version: int


@pytest.fixture(params=["memory", *servers("redis", "redis-cluster")])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    opened = await open_cache("memory://" if request.param == "memory" else server_url(request.param))
    await opened.flushall()
    yield opened
    await opened.aclose()


class Down:
    """A cache that is away."""

    def __getattr__(self, _name: str) -> object:
        async def refuse(*_args: object, **_more: object) -> object:
            raise CacheError("down")

        return refuse


class Flaky:
    """A cache that can be away."""

    away = False

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> object:
        return getattr(Down() if self.away else self._cache, name)


def known(cache: object, clock: FakeClock, entries: int = 100) -> LastKnown[Thing]:
    return LastKnown(cache, clock, "thing", Thing, lambda thing: thing.version, entries)  # type: ignore[arg-type]


async def test_one_replica_recalls_what_another_one_read(cache: Cache) -> None:
    clock = FakeClock()
    await known(cache, clock).remember({1: Thing("größe", 3), 2: Thing("b", 1)})
    assert await known(cache, clock).recall([2, 1, 7]) == {1: Thing("größe", 3), 2: Thing("b", 1)}


async def test_what_was_removed_stays_out_however_late_an_old_read_arrives(cache: Cache) -> None:
    clock = FakeClock()
    reader, remover = known(cache, clock), known(cache, clock)
    await reader.remember({1: Thing("there", 1)})
    await remover.remember({1: Thing("removed", 2)})
    await known(cache, clock).remember({1: Thing("there", 1)})
    assert await reader.recall([1]) == {1: Thing("removed", 2)}


async def test_it_is_forgotten_after_a_day(cache: Cache) -> None:
    clock = FakeClock()
    await known(cache, clock).remember({1: Thing("a", 1)})
    assert 0 < int(await cache.call("known:thing:1", "TTL")) <= KEPT_S


async def test_after_a_flush_a_process_trusts_its_own_memory_for_minutes_only(cache: Cache) -> None:
    clock = FakeClock()
    own = known(cache, clock)
    await own.remember({1: Thing("a", 1)})
    await cache.flushall()
    assert await own.recall([1]) == {1: Thing("a", 1)}
    clock.advance(ALONE_S + 1)
    assert await own.recall([1]) == {}


async def test_without_a_cache_a_process_has_its_own_memory_and_nothing_fails() -> None:
    clock = FakeClock()
    own = known(Down(), clock)
    await own.remember({1: Thing("a", 1)})
    assert await own.recall([1, 2]) == {1: Thing("a", 1)}


async def test_what_could_not_be_shared_is_shared_at_the_next_read(cache: Cache) -> None:
    clock = FakeClock()
    own = known(Down(), clock)
    await own.remember({1: Thing("a", 1)})
    own._cache = cache
    await own.remember({1: Thing("a", 1)})
    assert await known(cache, clock).recall([1]) == {1: Thing("a", 1)}


async def test_what_was_removed_while_the_cache_was_away_stays_out_when_it_is_back(cache: Cache) -> None:
    clock, flaky = FakeClock(), Flaky(cache)
    remover = known(flaky, clock)
    await remover.remember({1: Thing("there", 1)})
    flaky.away = True
    await remover.remember({1: Thing("removed", 2)})
    flaky.away = False
    assert await remover.recall([1]) == {1: Thing("removed", 2)}
    clock.advance(ALONE_S + 1)
    assert await remover.recall([1]) == {1: Thing("removed", 2)}


@pytest.mark.parametrize("next_use", ["recall", "remember"])
async def test_a_cache_that_is_back_gets_what_it_missed_so_that_all_replicas_know(cache: Cache, next_use: str) -> None:
    clock, flaky = FakeClock(), Flaky(cache)
    remover, other = known(flaky, clock), known(cache, clock)
    await other.remember({1: Thing("there", 1)})
    flaky.away = True
    await remover.remember({1: Thing("removed", 2)})
    flaky.away = False
    clock.advance(SHARED_AGAIN_S)
    if next_use == "recall":
        await remover.recall([7])
    else:
        await remover.remember({7: Thing("another", 1)})
    assert await other.recall([1]) == {1: Thing("removed", 2)}


async def test_what_a_cache_missed_does_not_undo_what_another_replica_wrote_since(cache: Cache) -> None:
    clock, flaky = FakeClock(), Flaky(cache)
    first, second = known(flaky, clock), known(cache, clock)
    flaky.away = True
    await first.remember({1: Thing("old", 2)})
    flaky.away = False
    await second.remember({1: Thing("new", 3)})
    clock.advance(SHARED_AGAIN_S)
    assert await first.recall([1]) == {1: Thing("new", 3)}
    assert await second.recall([1]) == {1: Thing("new", 3)}


async def test_what_a_cache_missed_is_bounded_and_the_latest_is_kept() -> None:
    own = known(Down(), FakeClock(), entries=10)
    for key in range(50):
        await own.remember({key: Thing(str(key), 1)})
    assert list(own._unshared) == list(range(40, 50))


async def test_its_memory_is_bounded(cache: Cache) -> None:
    clock = FakeClock()
    own = known(cache, clock, entries=10)
    for key in range(50):
        await own.remember({key: Thing(str(key), 1)})
    assert len(own._held) == 10
