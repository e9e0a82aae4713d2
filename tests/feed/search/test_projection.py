"""The index and the hashtags are projections: redelivery, replay and rebuilding change nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from feed_svc.search.commands import SearchCommands
from feed_svc.search.popularity import PopularityRefresher
from feed_svc.search.store import Change, Document, Kind, Put
from feed_svc.search.stores.sql import SqlHashtagStore
from feed_svc.search.stores.tantivy import TantivyIndex
from feed_svc.search.stores.tantivy import open as open_index
from feed_svc.search.worker import GROUP, TOPICS, SearchHandler
from feed_svc.trending.store import Views
from svc_kit.bus.runner import Envelope
from svc_kit.errors import AppError, unavailable
from tests.feed.search.conftest import World
from tests.support.feed_peers import PRIVATE

QUERIES = ("cats", "dogs", "home", "anna", "berta", "new", "old", "secret")


async def a_history(world: World) -> None:
    """Things that change, more than once."""
    story = world.story
    story.account(1, "anna")
    story.account(2, "berta")
    for number in range(1, 9):
        story.video(number, 1 + number % 2, f"old words {number} #cats #home")
    for number in range(1, 5):
        story.video(number, 1 + number % 2, f"new words {number} #dogs #home")
    story.video(5, 2, "secret #cats", PRIVATE)
    story.video_gone(6)
    story.account(2, "berta", "Berta Brand New")


async def everything(world: World) -> dict[str, object]:
    """All that search answers."""
    found = {query: sorted(await world.found(query)) for query in QUERIES}
    videos = {name: await world.tagged(name) for name in ("cats", "dogs", "home")}
    return {**found, **videos, "counts": await world.hashtags("cats", "dogs", "home")}


async def test_any_order_of_delivery_and_any_repetition_end_the_same(world: World) -> None:
    await a_history(world)
    events = list(world.story.records())
    await world.settle()
    expected = await everything(world)
    assert expected["counts"] == {"cats": 2, "dogs": 4, "home": 6}
    for seed in range(3):
        shuffled = events * 2
        random.Random(seed).shuffle(shuffled)
        await world.platform.bus.publish(shuffled)
        await world.settle()
        assert await everything(world) == expected


async def test_replaying_the_whole_log_changes_nothing(world: World) -> None:
    await a_history(world)
    await world.settle()
    expected = await everything(world)
    ends = await world.platform.bus.ends(TOPICS)
    async with world.platform.bus.consumer(GROUP, TOPICS) as consumer:
        await consumer.seek(dict.fromkeys(ends, 0))
    await world.settle()
    assert await everything(world) == expected


async def test_rebuilding_from_truth_gives_the_same_and_repeats(world: World) -> None:
    await a_history(world)
    await world.settle()
    expected = await everything(world)
    for _ in range(2):
        assert await world.service.rebuilds["hashtags"]() == 3
        assert await world.service.rebuilds["search"]() == 6 + 2 + 3
        assert await everything(world) == expected


async def test_a_rebuild_mends_what_was_lost_and_what_should_not_be_there(world: World) -> None:
    await a_history(world)
    await world.settle()
    expected = await everything(world)
    del world.truth.videos[8]
    world.clock.advance(1)
    await world.service.rebuilds["hashtags"]()
    await world.service.rebuilds["search"]()
    assert "video:8" not in await world.found("old")
    assert await world.hashtags("cats", "dogs", "home") == {"cats": 1, "dogs": 4, "home": 5}
    world.story.video(8, 1, "old words 8 #cats #home")
    world.truth.videos[8].version = 9
    await world.service.rebuilds["hashtags"]()
    await world.service.rebuilds["search"]()
    counts = await world.hashtags("cats", "dogs", "home")
    assert counts == expected["counts"]


async def test_when_the_index_fails_after_the_hashtags_were_counted_a_repetition_writes_both(world: World) -> None:
    await a_history(world)
    index = await open_index(f"tantivy://{world.platform.settings.data_dir}/other")
    hashtags, accounts = SqlHashtagStore(world.db, world.clock), world.accounts()
    failing = FailingIndex(index)
    commands = SearchCommands(failing, hashtags, world.videos(), accounts, world.clock)
    batch = [Envelope(event, "", 0, 0) for event in world.story.told]
    with pytest.raises(AppError):
        await SearchHandler(commands).handle(batch)
    assert (await hashtags.get(["dogs"]))["dogs"].video_count == 4
    assert await index.count() == 0
    failing.down = False
    await SearchHandler(commands).handle(batch)
    assert [hit.key for hit in await index.search("dogs", [Kind.HASHTAG], 5)] == [(Kind.HASHTAG, "dogs")]
    assert await index.count() == 6 + 2 + 3
    await index.close()


class FailingIndex(TantivyIndex):
    """Hands on to another index, but for writes while `down`."""

    def __init__(self, inner: TantivyIndex) -> None:
        self._inner = inner
        self.down = True

    async def write(self, changes: Sequence[Change]) -> None:
        if self.down:
            raise unavailable("The index is down.")
        await self._inner.write(changes)


async def test_popularity_is_taken_over_when_it_doubles_and_not_before(world: World) -> None:
    index = await open_index(f"tantivy://{world.platform.settings.data_dir}/other")
    documents = [Document((Kind.VIDEO, str(n)), 1, text="cats", author_id=7) for n in (1, 2)]
    await index.write([*map(Put, documents), Put(Document((Kind.USER, "7"), 1, names=("cats",)))])
    source = _Views([Views(1, 7, 3, 50), Views(2, 7, 900, 60)])
    world.truth.followers[7] = 40
    refresher = PopularityRefresher(index, source, world.accounts(), world.clock, 60)
    await refresher.refresh()
    held = await index.held([(Kind.VIDEO, "1"), (Kind.VIDEO, "2"), (Kind.USER, "7")])
    assert [known.popularity for known in held.values()] == [3, 900, 40]
    assert [hit.key[1] for hit in await index.search("cats", [Kind.VIDEO], 5)] == ["2", "1"]
    source.views = [Views(2, 7, 1000, 70)]
    await refresher.refresh()
    assert (await index.held([(Kind.VIDEO, "2")]))[Kind.VIDEO, "2"].popularity == 900
    source.views = [Views(2, 7, 2000, 80)]
    await refresher.refresh()
    assert (await index.held([(Kind.VIDEO, "2")]))[Kind.VIDEO, "2"].popularity == 2000
    await index.close()


class _Views:
    """`ViewsSource` of a list."""

    def __init__(self, views: list[Views]) -> None:
        self.views = views

    async def views_changed(self, since_ms: int, limit: int) -> list[Views]:
        return [views for views in self.views if views.changed_at_ms >= since_ms][:limit]
