"""Counters against every database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from svc_kit.cache import Cache
from svc_kit.counter_cache import ENTRY_S, CachedCounters
from svc_kit.counters import COUNTED_MS, CountedDelivery, CounterStore, Delta, Key, counter_tables
from svc_kit.db import Database
from svc_kit.ids import IdGenerator
from svc_kit.uow import UnitOfWork
from tests.support.cache import CACHES, empty_cache, take_down
from tests.support.clock import FakeClock
from tests.support.databases import DATABASES, opened_database
from tests.svc_kit.bus.support import deltas_of, like, metadata, unit_of_work

TABLES, _ = metadata()
VIDEO: Key = (7, "likes")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=DATABASES)
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with opened_database(request.param, tmp_path, TABLES) as db:
        yield db


@pytest.fixture
def store(db: Database, clock: FakeClock) -> CounterStore:
    return CounterStore(db, clock)


@pytest.fixture
def uow(db: Database, clock: FakeClock) -> UnitOfWork:
    return unit_of_work(db, clock)


@pytest.fixture
def ids(clock: FakeClock) -> IdGenerator:
    return IdGenerator(clock, worker=9)


def one(event_id: int, offset: int, *deltas: Delta, partition: int = 0) -> CountedDelivery:
    return CountedDelivery(event_id, "engagement", partition, offset, deltas or ((7, "likes", 1),))


async def likes(store: CounterStore | CachedCounters) -> int:
    return (await store.totals([VIDEO]))[VIDEO]


async def test_a_batch_is_summed_by_subject_and_kind(store: CounterStore, ids: IdGenerator) -> None:
    batch = [one(ids.next(), i, (7, "likes", 1), (i, "liked", 1), partition=i % 3) for i in range(10)]
    changed = await store.apply([*batch, one(ids.next(), 10, (7, "likes", -1), (8, "likes", 5))])
    assert changed == {(7, "likes"), (8, "likes"), *((i, "liked") for i in range(10))}
    keys = [(7, "likes"), (8, "likes"), (3, "liked"), (99, "likes"), (7, "liked")]
    assert await store.totals(keys) == dict(zip(keys, (9, 5, 1, 0, 1), strict=True))
    assert await store.totals([]) == {}


async def test_redelivery_counts_nothing(store: CounterStore, ids: IdGenerator) -> None:
    batch = [one(ids.next(), offset) for offset in range(5)]
    await store.apply(batch)
    assert await store.apply(batch) == set()
    assert await store.apply(batch[2:]) == set()
    assert await likes(store) == 5


async def test_one_event_at_two_offsets_counts_once(store: CounterStore, ids: IdGenerator) -> None:
    event_id = ids.next()
    await store.apply([one(event_id, 1), one(event_id, 2)])
    await store.apply([one(event_id, 3)])
    assert await likes(store) == 1


async def test_a_dead_letter_handled_after_later_events_counts(store: CounterStore, ids: IdGenerator) -> None:
    early, late = ids.next(), ids.next()
    await store.apply([one(late, 2)])
    await store.apply([one(early, 1)])
    assert await likes(store) == 2


async def test_a_replay_of_the_log_after_the_memory_of_events_ended_counts_nothing(
    store: CounterStore, ids: IdGenerator, clock: FakeClock
) -> None:
    batch = [one(ids.next(), offset, partition=offset % 2) for offset in range(6)]
    await store.apply(batch)
    clock.advance(COUNTED_MS / 1000 + 61)
    assert await store.prune() == 6
    await store.apply(batch)
    assert await likes(store) == 6


async def test_an_old_event_that_comes_for_the_first_time_counts(
    store: CounterStore, ids: IdGenerator, clock: FakeClock
) -> None:
    """As after a worker that was off for longer than events are remembered."""
    batch = [one(ids.next(), offset) for offset in range(4)]
    await store.apply(batch[:2])
    clock.advance(COUNTED_MS / 1000 + 61)
    await store.prune()
    await store.apply(batch)
    assert await likes(store) == 4


async def test_events_are_remembered_while_replays_rely_on_it(
    store: CounterStore, ids: IdGenerator, clock: FakeClock
) -> None:
    await store.apply([one(ids.next(), 0)])
    clock.advance(COUNTED_MS / 1000 - 1)
    assert await store.prune() == 0


async def test_nothing_is_counted_when_a_batch_fails(store: CounterStore, ids: IdGenerator) -> None:
    event_id = ids.next()
    with pytest.raises(Exception, match=r"(?i)too large|out of (int64 )?range"):
        await store.apply([one(event_id, 0), one(ids.next(), 1, (7, "likes", 2**70))])
    await store.apply([one(event_id, 0)])
    assert await likes(store) == 1


async def test_two_stores_of_one_database_count_the_same_events_apart(
    db: Database, store: CounterStore, ids: IdGenerator, clock: FakeClock
) -> None:
    event_id = ids.next()
    await store.apply([one(event_id, 0)])
    await CounterStore(db, clock, "authors").apply([one(event_id, 0, (1, "likes_received", 1))])
    assert await store.totals([VIDEO, (1, "likes_received")]) == {VIDEO: 1, (1, "likes_received"): 1}


async def test_viewers_see_their_own_writes_before_they_are_counted(store: CounterStore, uow: UnitOfWork) -> None:
    event_id = await like(uow, user=1, video=7)
    assert await likes(store) == 0
    assert await store.totals_for([VIDEO], 2, deltas_of) == {VIDEO: 0}
    assert await store.totals_for([VIDEO], 1, deltas_of) == {VIDEO: 1}
    assert await store.totals_for([VIDEO], 0, deltas_of) == {VIDEO: 0}
    await store.apply([one(event_id, 0)])
    assert await store.totals_for([VIDEO], 1, deltas_of) == {VIDEO: 1}
    await like(uow, user=1, video=7, version=2, undo=True)
    assert await store.totals_for([VIDEO, (1, "liked")], 1, deltas_of) == {VIDEO: 0, (1, "liked"): -1}


async def test_own_writes_older_than_a_minute_wait_for_the_worker(
    store: CounterStore, uow: UnitOfWork, clock: FakeClock
) -> None:
    await like(uow, user=1, video=7)
    clock.advance(60)
    assert await store.totals_for([VIDEO], 1, deltas_of) == {VIDEO: 0}


async def test_a_reset_sum_goes_on_counting(store: CounterStore, ids: IdGenerator) -> None:
    batch = [one(ids.next(), offset) for offset in range(5)]
    await store.apply(batch)
    await store.reset(*VIDEO, 3)
    await store.reset(8, "likes", 4)
    await store.apply([*batch, one(ids.next(), 5)])
    assert await store.totals([VIDEO, (8, "likes")]) == {VIDEO: 4, (8, "likes"): 4}


async def test_reconciling_repairs_sums_and_leaves_pending_events_to_be_counted(
    db: Database, store: CounterStore, uow: UnitOfWork, ids: IdGenerator
) -> None:
    counted = await like(uow, user=1, video=7)
    pending = await like(uow, user=2, video=7)
    await store.apply([one(counted, 0), one(ids.next(), 1, (7, "likes", 5))])

    async def truth(_connection: object) -> dict[Key, int]:
        return {VIDEO: 2}

    assert await store.reconcile(truth, ["engagement"], deltas_of) == 1
    assert await likes(store) == 1
    await store.apply([one(pending, 2)])
    assert await likes(store) == 2
    assert await store.reconcile(truth, ["engagement"], deltas_of) == 0


@pytest.fixture(params=CACHES)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    async with empty_cache(request.param) as cache:
        yield cache


@pytest.fixture
def cached(store: CounterStore, cache: Cache) -> CachedCounters:
    return CachedCounters(store, cache)


async def test_cached_sums_are_used_until_something_is_counted(
    cached: CachedCounters, store: CounterStore, ids: IdGenerator
) -> None:
    await cached.apply([one(ids.next(), 0)])
    assert await likes(cached) == 1
    await store.apply([one(ids.next(), 1)])
    assert await likes(cached) == 1
    await cached.apply([one(ids.next(), 2)])
    assert await likes(cached) == 3


async def test_a_kind_that_an_entry_lacks_is_read(cached: CachedCounters, ids: IdGenerator) -> None:
    await cached.apply([one(ids.next(), 0, (7, "likes", 2), (7, "shares", 3))])
    assert await likes(cached) == 2
    assert await cached.totals([VIDEO, (7, "shares"), (8, "likes")]) == {VIDEO: 2, (7, "shares"): 3, (8, "likes"): 0}
    assert await cached.totals([]) == {}


async def test_entries_end_by_themselves(cached: CachedCounters, cache: Cache, ids: IdGenerator) -> None:
    await cached.apply([one(ids.next(), 0)])
    await likes(cached)
    assert 0 < await cache.call("cnt:{7}", "TTL") <= ENTRY_S


async def test_redelivery_to_a_worker_that_died_before_invalidating_invalidates(
    cached: CachedCounters, store: CounterStore, ids: IdGenerator
) -> None:
    batch = [one(ids.next(), 0)]
    assert await likes(cached) == 0
    await store.apply(batch)
    assert await cached.apply(batch) == set()
    assert await likes(cached) == 1


async def test_a_slow_reader_cannot_put_back_what_has_changed(
    store: CounterStore, cache: Cache, ids: IdGenerator
) -> None:
    class Slow(CounterStore):
        async def totals(self, keys):  # type: ignore[no-untyped-def]
            before = await store.totals(keys)
            await CachedCounters(store, cache).apply([one(ids.next(), 0)])
            return before

    slow = Slow.__new__(Slow)
    assert await likes(CachedCounters(slow, cache)) == 0
    assert await likes(CachedCounters(store, cache)) == 1


async def test_sums_are_exact_after_the_cache_was_lost_at_any_moment(
    cached: CachedCounters, store: CounterStore, cache: Cache, ids: IdGenerator
) -> None:
    class Interrupted(CounterStore):
        async def totals(self, keys):  # type: ignore[no-untyped-def]
            before = await store.totals(keys)
            await cached.apply([one(ids.next(), 2)])
            await cache.flushall()
            return before

    for offset in range(2):
        await cached.apply([one(ids.next(), offset)])
        await cache.flushall()
        assert await likes(cached) == offset + 1
    await cache.flushall()
    assert await likes(CachedCounters(Interrupted.__new__(Interrupted), cache)) == 2
    assert await likes(cached) == 3


async def test_a_cache_that_is_down_or_damaged_is_answered_from_truth(
    cached: CachedCounters, cache: Cache, ids: IdGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cached.apply([one(ids.next(), 0)])
    for rubbish in (b"rubbish", b"5", b"[1]"):
        await cache.set("cnt:{7}", rubbish, ttl_ms=1000)
        assert await likes(cached) == 1
    take_down(cache, monkeypatch)
    await cached.apply([one(ids.next(), 1)])
    assert await likes(cached) == 2
    assert await cached.totals_for([VIDEO], 1, deltas_of) == {VIDEO: 2}


async def test_viewers_see_their_own_writes_before_the_cache_does(
    cached: CachedCounters, store: CounterStore, uow: UnitOfWork
) -> None:
    assert await likes(cached) == 0
    event_id = await like(uow, user=1, video=7)
    assert await cached.totals_for([VIDEO, (8, "likes")], 1, deltas_of) == {VIDEO: 1, (8, "likes"): 0}
    await store.apply([one(event_id, 0)])
    assert await cached.totals_for([VIDEO], 1, deltas_of) == {VIDEO: 1}
    assert await cached.totals_for([VIDEO], 2, deltas_of) == {VIDEO: 0}


async def test_no_row_is_written_for_an_event_that_counts_nothing_twice(
    db: Database, store: CounterStore, ids: IdGenerator
) -> None:
    data, _ = metadata()
    delivery = CountedDelivery(ids.next(), "engagement", 0, 0, ())
    assert await store.apply([delivery, delivery]) == set()
    async with db.read() as connection:
        counted = counter_tables(type(data)()).counted
        assert await connection.scalar(select(func.count()).select_from(counted)) == 1
