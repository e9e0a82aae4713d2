"""A cache that falls silent under a viewer who scrolls on: pages go on, and nobody waits for it twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from svc_kit.cache import Call
from svc_kit.caches.commands import Commands
from svc_kit.caches.metrics import FAILURES
from svc_kit.caches.node import Node
from tests.support.engines import servers
from tests.support.feed_fakes import VIEWER, Bench, fast_settings, feed_bench, ids_of, small_world
from tests.support.redis_servers import OwnServer, cluster_url, own_cluster, own_server

SILENCE = "?timeout_ms=200"


@pytest.fixture(params=servers("redis", "redis-cluster"))
async def own(request: pytest.FixtureRequest) -> AsyncIterator[list[OwnServer]]:
    async with AsyncExitStack() as stack:
        if request.param == "redis":
            yield [await stack.enter_async_context(own_server())]
        else:
            yield await stack.enter_async_context(own_cluster())


@pytest.fixture
async def bench(own: list[OwnServer], tmp_path: Path) -> AsyncIterator[Bench]:
    url = cluster_url(own, SILENCE) if len(own) > 1 else own[0].url + SILENCE
    async with feed_bench(tmp_path, fast_settings(), cache_url=url) as made:
        small_world(made.world)
        await made.publish()
        yield made


async def nodes(bench: Bench) -> list[Node]:
    cache = bench.platform.cache
    assert isinstance(cache, Commands)
    return list(await cache.nodes())


def timeouts(found: list[Node]) -> list[float]:
    return [FAILURES.labels(node.name, "timeout")._value.get() for node in found]


async def test_pages_go_on_while_the_cache_is_silent_and_after(bench: Bench, own: list[OwnServer]) -> None:
    bench.world.follow(VIEWER, 100)
    first, following = await bench.page(), await bench.page(kind="FOLLOWING")
    found = await nodes(bench)
    for server in own:
        server.pause()
    assert ids_of(await bench.page()) == ids_of(first)
    second = await bench.page(first.edges[-1].cursor)
    third = await bench.page(second.edges[-1].cursor)
    assert len(set(ids_of(first, second, third))) == 30
    assert ids_of(await bench.page(kind="FOLLOWING")) == ids_of(following)
    assert len((await bench.page(viewer=77)).edges) == 10
    assert max(timeouts(found)) <= 1
    for server in own:
        server.resume()
    async with asyncio.timeout(30):
        while any(node.is_down for node in found):
            await asyncio.sleep(0.02)
    fourth = await bench.page(third.edges[-1].cursor)
    assert len(set(ids_of(first, second, third, fourth))) == 40
    await bench.watch(*ids_of(fourth))
    assert not set(ids_of(await bench.page())) & set(ids_of(fourth))


async def test_once_it_is_known_to_be_silent_it_is_left_alone(
    bench: Bench, own: list[OwnServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await bench.page()
    found = await nodes(bench)
    for server in own:
        server.pause()
    for node in found:
        # All of them are found out, whichever the viewer's keys are on.
        with pytest.raises(Exception, match="did not answer in time"):
            await node.execute([Call("", ("PING",))])
    sent: list[object] = []
    monkeypatch.setattr(Node, "_exchange", lambda *call: sent.append(call))
    for _ in range(5):
        assert ids_of(await bench.page()) == ids_of(first)
    assert sent == []
    monkeypatch.undo()
    for server in own:
        server.resume()


async def test_a_fan_out_waits_for_the_cache_and_loses_nobody(bench: Bench, own: list[OwnServer]) -> None:
    fans = list(range(2000, 2040))
    for fan in fans:
        bench.world.follow(fan, 100)
        await bench.page(viewer=fan, kind="FOLLOWING")
    for server in own:
        server.pause()
    video = bench.world.add(5000, 100, "cats", age_h=0)
    publishing = asyncio.create_task(bench.publish(video))
    await asyncio.sleep(0)
    for server in own:
        server.resume()
    await asyncio.gather(publishing, return_exceptions=True)
    async with asyncio.timeout(60):
        while await _behind(bench):
            bench.world.clock.advance(61)
    for fan in fans:
        assert ids_of(await bench.page(viewer=fan, kind="FOLLOWING"))[0] == video


async def _behind(bench: Bench) -> bool:
    try:
        return await bench.fanout.commands.run_next("me")
    except Exception:
        await asyncio.sleep(0.1)
        return True
