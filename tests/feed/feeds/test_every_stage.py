"""Rules that hold at every stage, and what is remembered from one snapshot to the next."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from feed_svc.feeds.reasons import ReasonKind
from feed_svc.feeds.stores.sql import SqlInteractionStore
from svc_kit.caller import Caller
from svc_kit.clock import now_ms
from tests.support.feed_fakes import VIEWER, Bench, ids_of, read_all

FRIEND, STRANGER = 50, 51


async def hide(bench: Bench, video_id: int, how: str) -> set[int]:
    """Make a video one that the viewer may not be shown; returns all that are."""
    world, video = bench.world, bench.world.videos[video_id]
    match how:
        case "not interested":
            await bench.feeds.commands.mark_not_interested(Caller(user_id=VIEWER), video_id)
            return {video_id}
        case "private":
            world.videos[video_id] = replace(video, is_public=False)
            return {video_id}
        case "removed":
            await bench.delete(video_id)
            return {video_id}
        case "blocked":
            world.block(VIEWER, video.author_id)
        case "blocks":
            world.block(video.author_id, VIEWER)
        case _:
            world.mute(VIEWER, video.author_id)
    return {v for v, other in world.videos.items() if other.author_id == video.author_id}


@pytest.mark.parametrize("how", ["not interested", "private", "removed", "blocked", "blocks", "muted"])
@pytest.mark.parametrize("stage", ["build", "tail", "page"])
async def test_what_may_not_be_shown_is_left_out_at_every_stage(bench: Bench, how: str, stage: str) -> None:
    if stage == "build":
        gone = await hide(bench, 1003, how)
        pages = await read_all(bench)
    else:
        first = await bench.page()
        second = await bench.page(first.edges[-1].cursor)
        later = sorted(set(bench.world.videos) - set(ids_of(first, second)))
        gone = await hide(bench, ids_of(second)[2] if stage == "page" else later[0], how)
        pages = [await bench.page(first.edges[-1].cursor)]
        while pages[-1].has_next:
            pages.append(await bench.page(pages[-1].edges[-1].cursor))
        kept = [v for v in ids_of(second) if v not in gone]
        assert ids_of(pages[0])[: len(kept)] == kept
    shown = ids_of(*pages)
    assert not gone & set(shown)
    assert len(shown) == len(set(shown))
    assert all(len(page.edges) == 10 for page in pages[:-1])


async def test_a_new_first_page_does_not_begin_with_the_authors_that_the_last_one_ended_with(bench: Bench) -> None:
    authors = {v: video.author_id for v, video in bench.world.videos.items()}
    line = [authors[v] for v in ids_of(await bench.page())]
    for _ in range(6):
        bench.world.clock.advance(301)
        line += [authors[v] for v in ids_of(await bench.page())]
    assert all(author not in line[max(0, i - 2) : i] for i, author in enumerate(line))


async def like(bench: Bench, viewer: int, video_id: int, version: int = 1, *, back: bool = False) -> None:
    store, author = SqlInteractionStore(bench.context.db), bench.world.videos[video_id].author_id
    await store.put_like(viewer, video_id, author, 0 if back else now_ms(bench.world.clock), version)


async def test_what_friends_liked_says_so_while_they_are_friends_and_like_it(bench: Bench) -> None:
    bench.world.relations_of[VIEWER] = replace(bench.world.relations_of[VIEWER], friends=frozenset({FRIEND}))
    await like(bench, FRIEND, 1005)
    await like(bench, FRIEND, 1007)
    await like(bench, FRIEND, 1007, 2, back=True)
    await like(bench, STRANGER, 1009)

    async def by_friends() -> set[int]:
        edges = [edge for page in await read_all(bench) for edge in page.edges]
        return {edge.video_id for edge in edges if edge.reason is ReasonKind.FRIENDS}

    assert await by_friends() == {1005}
    bench.world.relations_of[VIEWER] = replace(bench.world.relations_of[VIEWER], friends=frozenset())
    assert await by_friends() == set()


async def test_nobody_new_is_shown_one_topic_first(bench: Bench) -> None:
    for viewer, client in ((VIEWER, ""), (0, "phone-1")):
        page = await bench.page(viewer=viewer, client=client)
        first = Counter(bench.world.videos[v].hashtags[0] for v in ids_of(page)[:5])
        assert len(first) == 5, first
