"""Whatever is late or down, a viewer gets a page; and what a page costs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from feed_svc.feeds.reasons import ReasonKind
from tests.support.cache import take_down
from tests.support.feed_fakes import VIEWER, Bench, fast_settings, feed_bench, ids_of, read_all, small_world

PORTS = ("videos", "relations", "interests", "retrieval", "ranking", "trending")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    impatient = fast_settings(
        source_deadline_ms=100, ranking_deadline_ms=100, visibility_deadline_ms=100, relations_deadline_ms=100
    )
    async with feed_bench(tmp_path, impatient) as made:
        small_world(made.world)
        made.world.trending = [(1000 + i, 100 + i % 8, 10.0 - i) for i in range(5)]
        await made.publish()
        made.calls.clear()
        yield made


async def test_a_page_costs_two_calls_and_a_new_snapshot_six(bench: Bench) -> None:
    first = await bench.page()
    assert bench.calls == Counter(PORTS)
    bench.calls.clear()
    await bench.page(first.edges[-1].cursor)
    assert bench.calls == Counter({"relations": 1, "videos": 1})
    bench.calls.clear()
    await bench.page()
    assert bench.calls == Counter({"relations": 1, "videos": 1})


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("how", ["down", "slow"])
async def test_without_any_one_port_a_new_viewer_gets_all_videos_each_once(bench: Bench, port: str, how: str) -> None:
    getattr(bench.world, how).add(port)
    pages = await read_all(bench, size=20)
    assert sorted(ids_of(*pages)) == sorted(bench.world.videos)
    assert pages[0].is_stale == (port in ("videos", "relations"))


@pytest.mark.parametrize("port", ["retrieval", "ranking"])
async def test_without_rank_an_older_snapshot_answers_marked_stale_and_without_what_was_watched(
    bench: Bench, port: str
) -> None:
    first = await bench.page()
    await bench.watch(*ids_of(first)[:3])
    bench.world.down.add(port)
    stale = await bench.page()
    assert (stale.is_stale, stale.snapshot_id) == (True, first.snapshot_id)
    assert ids_of(stale)[:7] == ids_of(first)[3:]
    assert len(stale.edges) == 10
    bench.world.down.clear()
    fresh = await bench.page()
    assert (fresh.is_stale, fresh.snapshot_id == first.snapshot_id) == (False, False)


async def test_with_everything_down_the_older_snapshot_goes_on(bench: Bench) -> None:
    first = await bench.page()
    bench.world.down.update(PORTS)
    bench.world.clock.advance(400)
    stale = await bench.page()
    assert stale.is_stale
    assert ids_of(stale) == ids_of(first)
    more = await bench.page(stale.edges[-1].cursor)
    assert more.is_stale
    assert not set(ids_of(more)) & set(ids_of(stale))


async def test_with_everything_down_and_no_snapshot_the_newest_public_videos_come(bench: Bench) -> None:
    bench.world.down.update(PORTS)
    page = await bench.page()
    assert len(page.edges) == 10
    assert page.is_stale


async def test_without_the_database_and_all_peers_the_snapshot_in_memory_goes_on(bench: Bench) -> None:
    first = await bench.page()
    bench.world.down.update(PORTS)
    async with bench.context.db.write() as connection:
        for table in ("viewer_actions", "author_timelines", "watch_history", "served_pages"):
            await connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO lost_{table}")
    stale = await bench.page()
    assert stale.is_stale
    assert ids_of(stale) == ids_of(first)
    assert (await bench.page(first.edges[-1].cursor)).edges


async def test_without_the_cache_a_process_goes_on_from_its_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await bench.page()
    take_down(bench.platform.cache, monkeypatch)
    assert ids_of(await bench.page()) == ids_of(first)
    second = await bench.page(first.edges[-1].cursor)
    third = await bench.page(second.edges[-1].cursor)
    assert len(set(ids_of(first, second, third))) == 30
    bench.world.follow(VIEWER, 100)
    following = await bench.page(kind="FOLLOWING")
    assert len(following.edges) == 5


async def test_an_open_breaker_is_not_asked_and_one_probe_closes_it(bench: Bench) -> None:
    bench.world.down.add("ranking")
    for viewer in range(10, 20):
        await bench.page(viewer=viewer)
    assert bench.calls["ranking"] == 10
    await bench.page(viewer=20)
    assert bench.calls["ranking"] == 10
    bench.world.down.clear()
    bench.world.clock.advance(31)
    await bench.page(viewer=21)
    await bench.page(viewer=22)
    assert bench.calls["ranking"] == 12


async def test_too_many_builds_are_shed_to_popular_videos(tmp_path: Path) -> None:
    async with feed_bench(tmp_path, fast_settings(concurrent_builds=1, waiting_builds=0)) as bench:
        small_world(bench.world)
        await bench.publish()
        await bench.feeds.popular.refresh()
        bench.world.slow.add("interests")
        blocked = asyncio.create_task(bench.page(viewer=50))
        await bench.world.called("interests")
        popular = await bench.page(viewer=51)
        assert popular.is_stale
        assert ids_of(popular)[:2] == [1000, 1001]
        assert len(popular.edges) == 10
        blocked.cancel()


async def test_a_reason_is_true_even_when_nothing_is_known(bench: Bench) -> None:
    bench.world.down.update(("retrieval", "ranking", "interests"))
    kinds = {edge.reason for page in await read_all(bench) for edge in page.edges}
    assert kinds <= {ReasonKind.NEW, ReasonKind.TRENDING, ReasonKind.POPULAR_NEAR_YOU}
