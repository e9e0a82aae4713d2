"""For You while another model version takes over in several replicas: no page fails, none is made by two versions."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from feed_svc.feeds.store import Ranked, Ranker, Retrieval, Retrieved, ViewerContext
from feed_svc.feeds.stores.rpc import RpcRanker, RpcRetrieval
from feed_svc.feeds.wiring import Peers
from feed_svc.schema import metadata
from feed_svc.settings import FeedSettings
from rank_svc.settings import RankSettings
from tests.support.feed_fakes import TOPICS, Bench, World, fast_settings, process
from tests.support.platform import create_tables
from tests.support.rank import RankBench, rank_bench, write_base
from tests.support.versions import make_version, negated

SETTLE_S = 15.0
PAGES = 6


@dataclass
class InTurns:
    """Calls go to one replica after the other, retrieval and ranking of a page to different ones; what answered is
    written down."""

    retrievals: Sequence[Retrieval]
    rankers: Sequence[Ranker]
    pages: list[tuple[str, str]] = field(default_factory=list)
    """(version that found, version that ranked)"""
    turn: int = 0

    async def retrieve(self, viewer: ViewerContext, videos: Sequence[int], authors: Sequence[int]) -> Retrieved:
        self.turn += 1
        return await self.retrievals[self.turn % len(self.retrievals)].retrieve(viewer, videos, authors)

    async def rank(self, viewer: ViewerContext, video_ids: Sequence[int], followed: Sequence[bool]) -> Ranked:
        self.turn += 1
        ranked = await self.rankers[self.turn % len(self.rankers)].rank(viewer, video_ids, followed)
        self.pages.append((viewer.model_version, ranked.model_version))
        return ranked


@dataclass
class Platform:
    bench: Bench
    replicas: Sequence[RankBench]
    calls: InTurns
    folder: Path
    base: Path
    viewers: int = 0

    async def load(self) -> None:
        """First pages of viewers who had none, at once."""
        first, self.viewers = self.viewers + 1, self.viewers + PAGES
        pages = await asyncio.gather(*(self.bench.page(viewer=i) for i in range(first, self.viewers + 1)))
        assert [page for page in pages if not page.edges or page.is_stale] == []

    async def load_while_looking(self, replica: RankBench) -> None:
        """Pages while a replica looks which version should serve."""
        await asyncio.gather(self.load(), replica.refresh("rank.model"))
        # The feed sleeps on the same clock, by which a job is taken to be done: it may not have been.
        await replica.refresh("rank.model")

    def wanted(self, version: str) -> None:
        (self.folder / "models" / "serving").write_text(version)

    async def settle(self) -> None:
        self.replicas[0].clock.advance(SETTLE_S)
        self.replicas[1].clock.advance(SETTLE_S)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    base, data = write_base(tmp_path / "base"), tmp_path / "data"
    settings = RankSettings(model_settle_s=SETTLE_S)
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(rank_bench(data, base, settings, several=True)) for _ in range(2)]
        first = replicas[0]
        await create_tables(first.platform, "feed", metadata)
        world = World(first.clock)
        for i in range(60):
            world.add(1000 + i, 100 + i % 12, TOPICS[i % len(TOPICS)], age_h=1 + i % 30)
        calls = InTurns(
            [RpcRetrieval(r.platform.peer, r.retrieval) for r in replicas],
            [RpcRanker(r.platform.peer, r.ranking) for r in replicas],
        )
        peers = Peers(world, world, world, calls, calls)
        async with process(world, first.platform, _patient(), peers=peers) as bench:
            await bench.publish()
            events: list[Any] = [
                first.story.published(v.video_id, v.author_id, v.hashtags, published_at_ms=v.created_at_ms)
                for v in world.videos.values()
            ]
            await first.tell(*events)
            for replica in replicas:
                await replica.refresh()
            yield Platform(bench, replicas, calls, data, base)


def _patient() -> FeedSettings:
    names = ("source", "ranking", "visibility", "relations")
    return fast_settings(**{f"{name}_deadline_ms": 60_000 for name in names}, stale_after_ms=60_000)


async def test_each_page_is_of_one_version_while_replicas_switch_one_after_the_other(platform: Platform) -> None:
    make_version(platform.folder / "models", platform.base, "next", negated("user_tower"))
    one, other = platform.replicas
    await platform.load()
    platform.wanted("next")
    await platform.load_while_looking(one)
    await platform.load_while_looking(other)
    await platform.settle()
    await platform.load_while_looking(one)
    await platform.load()
    await platform.load_while_looking(other)
    await platform.load()

    pages = platform.calls.pages
    assert len(pages) >= 7 * PAGES
    assert [page for page in pages if page[0] != page[1]] == []
    assert {found for found, _ in pages} == {"base-1", "next"}
    assert {found for found, _ in pages[-PAGES:]} == {"next"}


async def test_a_version_that_does_not_load_changes_no_page(platform: Platform) -> None:
    bad = make_version(platform.folder / "models", platform.base, "bad")
    shutil.rmtree(bad / "ranker")
    platform.wanted("bad")
    for replica in platform.replicas:
        await platform.load_while_looking(replica)
    await platform.settle()
    for replica in platform.replicas:
        await replica.refresh("rank.model")
    await platform.load()

    assert set(platform.calls.pages) == {("base-1", "base-1")}
    for replica in platform.replicas:
        with pytest.raises(ValueError, match=r"base-1 serves instead: .*ranker/.*: there is no such file"):
            await replica.service.checks["rank model"]()


async def test_a_rollback_under_load_mixes_nothing_either(platform: Platform) -> None:
    make_version(platform.folder / "models", platform.base, "next")
    for version in ("next", "base-1"):
        platform.wanted(version)
        for replica in platform.replicas:
            await platform.load_while_looking(replica)
        await platform.settle()
        for replica in platform.replicas:
            await platform.load_while_looking(replica)

    assert [page for page in platform.calls.pages if page[0] != page[1]] == []
    assert all([(await r.retrieve(_nobody())).model_version == "base-1" for r in platform.replicas])


def _nobody() -> Any:
    from reelgraph.rank.v1.features_pb2 import ViewerContext as Viewer

    return Viewer()
