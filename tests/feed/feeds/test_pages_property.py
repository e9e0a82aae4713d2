"""Pages never repeat or skip, whatever happens between two of them."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from feed_svc.feeds.queries import FeedPage
from svc_kit.caller import Caller
from tests.support.feed_fakes import VIEWER, Bench, feed_bench, ids_of, process, small_world

VIDEOS = 30
SIZE = 4
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("next", "next", "next", "again", "watch", "refuse"),
                *("delete", "publish", "flush", "refresh", "other", "race"),
            ]
        ),
        st.integers(0, 1000),
    ),
    min_size=5,
    max_size=25,
)


@dataclass
class Chain:
    """The pages of one snapshot, by the cursor that asked for them."""

    bench: Bench
    pages: list[tuple[str, FeedPage]] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    watched: set[int] = field(default_factory=set)
    published: int = 9000

    @property
    def shown(self) -> list[int]:
        return ids_of(*(page for _, page in self.pages))

    @property
    def cursor(self) -> str:
        with_edges = [page for _, page in self.pages if page.edges]
        return with_edges[-1].edges[-1].cursor if with_edges else ""

    def showable(self, ids: list[int]) -> list[int]:
        return [v for v in ids if v in self.bench.world.videos and v not in self.refused]

    async def next(self, reader: Bench) -> None:
        cursor = self.cursor
        page = await reader.page(cursor, size=SIZE)
        assert len(set(ids_of(page))) == len(page.edges)
        if cursor:
            assert not set(ids_of(page)) & set(self.shown), "a page repeats"
            assert page.snapshot_id == self.pages[0][1].snapshot_id
        assert ids_of(page) == self.showable(ids_of(page))
        assert len(page.edges) == SIZE or not page.has_next
        if page.edges:
            self.pages.append((cursor, page))

    async def again(self, reader: Bench, number: int) -> None:
        """The same cursor: the same page, less what can't be shown any more, filled with what came after."""
        if not self.pages or self.pages[0][0]:
            return
        place = 1 + number % len(self.pages)
        if place >= len(self.pages):
            return
        cursor, page = self.pages[place]
        seen_again = ids_of(await reader.page(cursor, size=SIZE))
        left = self.showable(ids_of(page))
        after = self.showable(ids_of(*(later for _, later in self.pages[place + 1 :])))
        assert seen_again[: len(left)] == left, "the same cursor gave another page"
        expected = (left + after)[:SIZE]
        assert seen_again[: len(expected)] == expected, "a page skips"
        new = seen_again[len(expected) :]
        assert not set(new) & set(self.shown), "a filled page repeats"
        if new:
            # What filled it is frozen behind all that was shown: the chain goes on after it.
            self.pages = self.pages[: place + 1]

    async def step(self, action: str, number: int) -> None:
        world = self.bench.world
        alive = sorted(world.videos)
        match action:
            case "next":
                await self.next(self.bench)
            case "again":
                await self.again(self.bench, number)
            case "watch" if alive:
                self.watched.add(alive[number % len(alive)])
                await self.bench.watch(alive[number % len(alive)])
            case "refuse" if alive:
                self.refused.add(alive[number % len(alive)])
                caller = Caller(user_id=VIEWER)
                await self.bench.feeds.commands.mark_not_interested(caller, alive[number % len(alive)])
            case "delete" if len(alive) > 1:
                await self.bench.delete(alive[number % len(alive)])
            case "publish":
                self.published += 1
                await self.bench.publish(world.add(self.published, 100 + number % 8, "dance", age_h=0))
            case "flush":
                await self.bench.platform.cache.flushall()
            case "refresh":
                await self.bench.feeds.refresher.refresh(VIEWER)
            case "other":
                for flush in self.bench.feeds.flushes:
                    await flush()
                async with process(world, self.bench.platform) as other:
                    await self.next(other)
                    for flush in other.feeds.flushes:
                        await flush()
            case "race":
                await asyncio.gather(self.next(self.bench), self.bench.feeds.refresher.refresh(VIEWER))
            case _:
                pass


async def _play(actions: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with feed_bench(Path(folder)) as bench:
            small_world(bench.world, VIDEOS)
            await bench.publish()
            chain = Chain(bench)
            await chain.next(bench)
            for action, number in actions:
                await chain.step(action, number)
            await _to_the_end(chain)


async def _to_the_end(chain: Chain) -> None:
    """Whatever could be shown from the first page to the last was shown."""
    rounds = 0
    while rounds < 40:
        before = len(chain.pages)
        await chain.next(chain.bench)
        rounds += 1
        if len(chain.pages) == before:
            break
    constant = set(chain.showable(list(range(1000, 1000 + VIDEOS)))) - chain.watched
    everything = set(chain.shown)
    first = await chain.bench.page(chain.pages[0][1].edges[0].cursor, size=100)
    everything |= {*ids_of(first), chain.pages[0][1].edges[0].video_id}
    assert constant <= everything, "something was skipped"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example([("next", 0), ("next", 0), ("next", 0), ("flush", 0), ("other", 0)])
@given(ACTIONS)
def test_pages_never_repeat_or_skip(actions: list[tuple[str, int]]) -> None:
    asyncio.run(_play(actions))
