"""For You over the real rank_svc with its base model: taste, reasons of several kinds, variety."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from feed_svc.feeds.queries import FeedPage
from feed_svc.feeds.reasons import ReasonKind
from feed_svc.feeds.rules import is_exploration
from feed_svc.feeds.stores.rpc import RpcRanker, RpcRetrieval
from feed_svc.feeds.wiring import Peers
from feed_svc.schema import metadata
from tests.support.feed_fakes import TOPICS, VIEWER, Bench, World, ids_of, process, read_all
from tests.support.platform import create_tables
from tests.support.rank import RankBench, rank_bench, write_base

PER_TOPIC = 12


class Together:
    """Both services over one world."""

    def __init__(self, bench: Bench, rank: RankBench) -> None:
        self.bench, self.rank = bench, rank

    def topics(self, page: FeedPage) -> Counter[str]:
        return Counter(self.bench.world.videos[v].hashtags[0] for v in ids_of(page))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
async def both(tmp_path: Path, model: Path) -> AsyncIterator[Together]:
    async with rank_bench(tmp_path / "data", model) as rank:
        await create_tables(rank.platform, "feed", metadata)
        world = World(rank.clock)
        for i in range(PER_TOPIC * len(TOPICS)):
            world.add(1000 + i, 100 + i % 12, TOPICS[i % len(TOPICS)], age_h=1 + i % 30)
        ranking = RpcRanker(rank.platform.peer, rank.ranking)
        peers = Peers(world, world, world, RpcRetrieval(rank.platform.peer, rank.retrieval), ranking)
        async with process(world, rank.platform, peers=peers) as bench:
            await bench.publish()
            times = {"duration_ms": 5000, "language": "en"}
            events = [
                rank.story.published(v.video_id, v.author_id, v.hashtags, published_at_ms=v.created_at_ms, **times)
                for v in world.videos.values()
            ]
            await rank.tell(*events)
            await rank.refresh()
            yield Together(bench, rank)


@pytest.mark.parametrize("topic", TOPICS[:3])
async def test_ten_watches_lean_the_next_pages_and_leave_them_varied(both: Together, topic: str) -> None:
    world = both.bench.world
    first = await both.bench.page()
    liked = [v for v, video in world.videos.items() if video.hashtags == (topic,) and v not in ids_of(first)][:5]
    others = [v for v, video in world.videos.items() if video.hashtags != (topic,) and v not in ids_of(first)][:5]
    await both.bench.watch(*liked)
    await both.bench.watch(*others, watched_ms=400)
    for page in (await both.bench.page(first.edges[-1].cursor), await both.bench.page()):
        after = both.topics(page)
        assert 4 <= after[topic] <= 5, after
        assert len(after) >= 3
        assert not page.is_stale


async def test_a_feed_has_several_sources_and_tells_them_apart(both: Together) -> None:
    both.bench.world.follow(VIEWER, 103)
    both.bench.world.trending = [(1000 + i, 100 + i % 12, 9.0 - i) for i in range(4)]
    await both.bench.watch(*[v for v, video in both.bench.world.videos.items() if video.hashtags == ("cats",)][:4])
    pages = await read_all(both.bench)
    kinds = Counter(edge.reason for page in pages[:3] for edge in page.edges)
    assert len(kinds) >= 4, kinds
    assert kinds[ReasonKind.FOLLOWED] and kinds[ReasonKind.FOR_YOUR_TASTE]
    for edge in (edge for page in pages for edge in page.edges):
        video = both.bench.world.videos[edge.video_id]
        if edge.reason is ReasonKind.FOR_YOUR_TASTE and edge.hashtag:
            assert edge.hashtag in video.hashtags
        if edge.reason is ReasonKind.SIMILAR_VIDEO:
            assert both.bench.world.videos[edge.seed_video_id].hashtags == ("cats",)


async def test_interests_alone_make_a_first_page(both: Together) -> None:
    both.bench.world.interests_of[VIEWER] = ("travel",)
    page = await both.bench.page()
    assert both.topics(page)["travel"] >= 4
    assert len(both.topics(page)) >= 3


async def test_a_logged_out_first_page_is_varied_too(both: Together) -> None:
    page = await both.bench.page(viewer=0, client="phone-1")
    assert len(page.edges) == 10
    assert len(both.topics(page)) >= 3
    authors = [both.bench.world.videos[v].author_id for v in ids_of(page)]
    assert all(author not in authors[max(0, i - 2) : i] for i, author in enumerate(authors))


async def test_the_first_five_tell_tastes_apart_and_the_next_page_follows_what_was_watched_of_them(
    both: Together,
) -> None:
    world = both.bench.world
    first = await both.bench.page()
    five = ids_of(first)[:5]
    assert {world.videos[v].hashtags[0] for v in five} == set(TOPICS)
    await both.bench.watch(five[2])
    await both.bench.watch(*five[:2], *five[3:], watched_ms=300)
    topic = world.videos[five[2]].hashtags[0]
    for page in (await both.bench.page(first.edges[-1].cursor), await both.bench.page()):
        after = both.topics(page)
        assert after[topic] == max(after.values()) >= 4, after
        assert len(after) >= 3


async def test_every_new_video_gets_its_impressions_as_far_as_the_places_for_young_ones_carry_them(
    both: Together,
) -> None:
    shown: Counter[int] = Counter()
    for n in range(40):
        page = await both.bench.page(viewer=0, client=f"phone-{n}", size=20)
        explored = [edge for place, edge in enumerate(page.edges) if is_exploration(place, 10)]
        assert [edge.reason for edge in explored] == [ReasonKind.NEW] * 2
        fewest = sorted(shown[v] for v in both.bench.world.videos)
        # Among the 20 that were shown least, but for those that are on the page already and what was told since.
        assert max(shown[edge.video_id] for edge in explored) <= fewest[40]
        shown.update(ids_of(page))
        await both.rank.tell(both.rank.story.served(0, ids_of(page)))
        both.rank.clock.advance(6)
    assert len(shown) == PER_TOPIC * len(TOPICS), shown
    assert sorted(shown.values())[40] <= 3, shown
