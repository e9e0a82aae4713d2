"""Who may see a video: the table, and every RPC that answers by it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from media_svc.videos.store import Relation, VideoState, Visibility
from media_svc.videos.visibility import audience_of, least_audience, may_view, needs_relation
from reelgraph.media.v1.videos_pb2 import (
    BatchGetVideoCountsRequest,
    BatchGetVideosRequest,
    DeleteVideoRequest,
    ListAuthorVideosRequest,
    ListPublishedVideosRequest,
    UpdateVideoRequest,
)
from svc_kit.errors import AppError, Reason, unavailable
from svc_kit.rpc.client import AS_SERVICE
from tests.support.media import MediaBench, media_bench

AUTHOR, FOLLOWER, STRANGER, BLOCKED, BLOCKER, NOBODY = 1, 2, 3, 4, 5, 0
RELATIONS = {
    FOLLOWER: Relation(follows=True),
    STRANGER: Relation(),
    BLOCKED: Relation(blocked_by=True),
    BLOCKER: Relation(blocks=True),
}
PUBLIC, FOLLOWERS, PRIVATE = Visibility.PUBLIC, Visibility.FOLLOWERS, Visibility.PRIVATE
READERS = {
    PUBLIC: {AUTHOR, FOLLOWER, STRANGER, NOBODY},
    FOLLOWERS: {AUTHOR, FOLLOWER},
    PRIVATE: {AUTHOR},
}
"""Who sees a READY video."""
EVERYBODY = (AUTHOR, FOLLOWER, STRANGER, BLOCKED, BLOCKER, NOBODY)
CASES = list(product(EVERYBODY, VideoState, Visibility))


def _expected(viewer: int, state: VideoState, visibility: Visibility) -> bool:
    if state is VideoState.DELETED:
        return False
    return viewer in (READERS[visibility] if state is VideoState.READY else {AUTHOR})


@pytest.mark.parametrize(("viewer", "state", "visibility"), CASES)
def test_the_table_of_visibility(viewer: int, state: VideoState, visibility: Visibility) -> None:
    relation = RELATIONS.get(viewer)
    assert may_view(viewer, AUTHOR, relation, state, visibility) == _expected(viewer, state, visibility)


@pytest.mark.parametrize(("viewer", "state", "visibility"), CASES)
def test_without_the_relation_that_it_needs_nothing_more_is_seen(
    viewer: int, state: VideoState, visibility: Visibility
) -> None:
    if needs_relation(viewer, AUTHOR, state, visibility):
        assert not may_view(viewer, AUTHOR, None, state, visibility)
    else:
        assert may_view(viewer, AUTHOR, None, state, visibility) == _expected(viewer, state, visibility)


@pytest.mark.parametrize(("viewer", "state", "visibility"), CASES)
def test_lists_by_audience_agree_with_the_table(viewer: int, state: VideoState, visibility: Visibility) -> None:
    if state is VideoState.DELETED:
        return
    least = least_audience(viewer, AUTHOR, RELATIONS.get(viewer))
    listed = least is not None and audience_of(state, visibility) >= least
    assert listed == _expected(viewer, state, visibility)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MediaBench]:
    """One READY video of each visibility, and one that is still PROCESSING; relations as in the table."""
    async with media_bench(tmp_path, work=False) as bench:
        bench.follows.follows = {(FOLLOWER, AUTHOR)}
        bench.follows.blocks = {(AUTHOR, BLOCKED), (BLOCKER, AUTHOR)}
        yield bench


async def _video(bench: MediaBench, tmp_path: Path, visibility: int, *, ready: bool = True, user: int = AUTHOR) -> int:
    upload = await bench.begin(user, visibility.to_bytes(2, "big") + bytes([ready, user]))
    video = await bench.publish(user, upload.id, visibility=visibility)
    if ready:
        # What a transcode writes at its end, without one.
        with sqlite3.connect(tmp_path / "media.db") as db:
            db.execute("UPDATE videos SET state = 'READY', play_id = ? WHERE id = ?", (f"p{video.id}", video.id))
            db.execute("UPDATE author_videos SET audience = ? WHERE video_id = ?", (3 - visibility, video.id))
        db.close()
    return video.id


async def _all(bench: MediaBench, tmp_path: Path) -> dict[Visibility | None, int]:
    numbers = ((PUBLIC, 1), (FOLLOWERS, 2), (PRIVATE, 3))
    made: dict[Visibility | None, int] = {v: await _video(bench, tmp_path, number) for v, number in numbers}
    made[None] = await _video(bench, tmp_path, 1, ready=False)
    return made


async def test_every_read_answers_by_the_table(world: MediaBench, tmp_path: Path) -> None:
    made = await _all(world, tmp_path)
    for viewer in EVERYBODY:
        expected = {made[v] for v, readers in READERS.items() if viewer in readers}
        expected |= {made[None]} if viewer == AUTHOR else set()
        assert {v.id for v in await world.seen(viewer, *made.values())} == expected
        request = ListAuthorVideosRequest(author_id=AUTHOR, with_playback=True)
        listed = (await world.call(world.videos.ListAuthorVideos, request, viewer)).entries
        assert [entry.video.id for entry in listed] == sorted(expected, reverse=True)


async def test_many_videos_cost_one_call_and_those_of_nobody_none(world: MediaBench, tmp_path: Path) -> None:
    made = [*(await _all(world, tmp_path)).values(), await _video(world, tmp_path, 1, user=9)]
    await world.seen(STRANGER, *made)
    assert world.follows.calls == [[AUTHOR, 9]]
    await world.seen(NOBODY, *made)
    await world.seen(AUTHOR, *made[:-1])
    assert len(world.follows.calls) == 1


async def test_without_relations_nothing_is_shown_to_a_viewer_but_their_own(world: MediaBench, tmp_path: Path) -> None:
    made = await _all(world, tmp_path)
    world.follows.down = unavailable("down")
    with pytest.raises(AppError) as failed:
        await world.seen(STRANGER, *made.values())
    assert failed.value.reason is Reason.UNAVAILABLE
    assert len(await world.seen(AUTHOR, *made.values())) == 4
    assert [v.id for v in await world.seen(NOBODY, *made.values())] == [made[PUBLIC]]


@pytest.mark.parametrize("change", [UpdateVideoRequest(caption="x"), DeleteVideoRequest()])
async def test_somebody_elses_video_is_forbidden_when_seen_and_unknown_when_not(
    world: MediaBench, tmp_path: Path, change: Any
) -> None:
    made = await _all(world, tmp_path)
    method = world.videos.UpdateVideo if isinstance(change, UpdateVideoRequest) else world.videos.DeleteVideo
    for viewer, visibility, reason in (
        (STRANGER, PUBLIC, Reason.FORBIDDEN),
        (STRANGER, PRIVATE, Reason.NOT_FOUND),
        (BLOCKED, PUBLIC, Reason.NOT_FOUND),
        (NOBODY, PUBLIC, Reason.UNAUTHENTICATED),
    ):
        change.video_id = made[visibility]
        with pytest.raises(AppError) as refused:
            await world.call(method, change, viewer)
        assert refused.value.reason is reason
    change.video_id = 12345
    with pytest.raises(AppError) as unknown:
        await world.call(method, change, AUTHOR)
    assert unknown.value.reason is Reason.NOT_FOUND


async def test_only_a_service_reads_unfiltered_and_lists_what_is_published(world: MediaBench, tmp_path: Path) -> None:
    made = await _all(world, tmp_path)
    request = BatchGetVideosRequest(ids=made.values(), unfiltered=True)
    peer = world.platform.peer
    assert len((await peer.call(world.videos.BatchGetVideos, request, AS_SERVICE)).videos) == 4
    published = await peer.call(world.videos.ListPublishedVideos, ListPublishedVideosRequest(page_size=2), AS_SERVICE)
    assert [v.id for v in published.videos] == sorted(id for v, id in made.items() if v is not None)[:2]
    rest = ListPublishedVideosRequest(after_id=published.videos[-1].id)
    assert len((await peer.call(world.videos.ListPublishedVideos, rest, AS_SERVICE)).videos) == 1
    for method, refused in (
        (world.videos.BatchGetVideos, request),
        (world.videos.ListPublishedVideos, ListPublishedVideosRequest()),
    ):
        with pytest.raises(AppError) as wrong:
            await world.call(method, refused, AUTHOR)
        assert wrong.value.reason is Reason.FORBIDDEN


async def test_counts_are_of_ready_public_videos(world: MediaBench, tmp_path: Path) -> None:
    await _all(world, tmp_path)
    request = BatchGetVideoCountsRequest(author_ids=[9, AUTHOR])
    counts = (await world.call(world.videos.BatchGetVideoCounts, request)).counts
    assert [(c.author_id, c.video_count) for c in counts] == [(9, 0), (AUTHOR, 1)]


async def test_pages_of_an_author_neither_repeat_nor_skip_and_their_tokens_belong_to_the_author(
    world: MediaBench, tmp_path: Path
) -> None:
    made = sorted((await _all(world, tmp_path)).values(), reverse=True)
    request = ListAuthorVideosRequest(author_id=AUTHOR, page_size=3)
    first = await world.call(world.videos.ListAuthorVideos, request, AUTHOR)
    request.page_token = first.next_page_token
    second = await world.call(world.videos.ListAuthorVideos, request, AUTHOR)
    assert [e.video.id for e in [*first.entries, *second.entries]] == made and not second.next_page_token
    request.page_token = first.entries[0].page_token
    assert (await world.call(world.videos.ListAuthorVideos, request, AUTHOR)).entries[0].video.id == made[1]
    for author_id, token in ((AUTHOR, "nonsense"), (9, first.next_page_token)):
        wrong = ListAuthorVideosRequest(author_id=author_id, page_token=token)
        with pytest.raises(AppError) as refused:
            await world.call(world.videos.ListAuthorVideos, wrong, AUTHOR)
        assert refused.value.violations[0].field == "page_token"
