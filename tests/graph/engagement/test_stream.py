"""StreamComments over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.video_pb2 import VideoDeleted
from reelgraph.graph.v1 import engagement_pb2 as pb
from reelgraph.graph.v1 import follows_pb2
from svc_kit.errors import AppError, Reason
from tests.support.graph_world import ANNA, BEN, CLEO, DAN, VIDEO, GraphWorld, open_graph_world


async def comment(world: GraphWorld, user_id: int, text: str = "hi", parent_id: int = 0) -> int:
    request = pb.AddCommentRequest(video_id=VIDEO, text=text, parent_id=parent_id)
    return int((await world.call(world.engagement.AddComment, request, user_id)).comment.id)


def stream(world: GraphWorld, viewer: int = 0, after_id: int = 0) -> Any:
    request = pb.StreamCommentsRequest(video_id=VIDEO, after_id=after_id)
    return aclosing(world.stream(world.engagement.StreamComments, request, viewer))


async def take(comments: AsyncIterator[Any], count: int) -> list[str]:
    async with asyncio.timeout(20):
        return [(await anext(comments)).comment.text for _ in range(count)]


async def test_missed_comments_come_first_then_new_ones_each_once(world: GraphWorld) -> None:
    seen = await comment(world, BEN, "seen")
    await comment(world, BEN, "missed")
    async with stream(world, CLEO, after_id=seen) as comments:
        assert await take(comments, 1) == ["missed"]
        for i in range(5):
            await comment(world, DAN, str(i))
        assert await take(comments, 5) == ["0", "1", "2", "3", "4"]


async def test_without_a_last_id_only_new_comments_and_replies_come(world: GraphWorld) -> None:
    old = await comment(world, BEN, "old")
    async with stream(world) as comments:
        reading = asyncio.create_task(take(comments, 2))
        await wait_until_listening(world)
        await comment(world, CLEO, "new")
        await comment(world, CLEO, "reply", old)
        assert await reading == ["new", "reply"]


async def wait_until_listening(world: GraphWorld) -> None:
    """Return when a stream waits for its first comment: it has asked for the video and then for the clock."""
    asked = len(world.videos.tokens)
    async with asyncio.timeout(20):
        before = world.clock.sleepers
        while True:
            if len(world.videos.tokens) > asked and world.clock.sleepers > before:
                return
            await asyncio.sleep(0.005)


async def test_of_many_missed_the_last_hundred_come(world: GraphWorld) -> None:
    first = await comment(world, BEN, "first")
    for i in range(103):
        await comment(world, BEN, str(i))
    async with stream(world, CLEO, after_id=first) as comments:
        assert await take(comments, 100) == [str(i) for i in range(3, 103)]


async def test_blocked_writers_are_skipped_from_the_moment_of_the_block(world: GraphWorld) -> None:
    start = await comment(world, BEN)
    async with stream(world, CLEO, after_id=start) as comments:
        await comment(world, DAN, "before")
        assert await take(comments, 1) == ["before"]
        await world.call(world.follows.BlockUser, follows_pb2.BlockUserRequest(user_id=CLEO), DAN)
        await comment(world, DAN, "blocked")
        await comment(world, BEN, "after")
        assert await take(comments, 1) == ["after"]


async def test_nothing_is_missed_when_wake_ups_are_lost(tmp_path: Any) -> None:
    async with open_graph_world(tmp_path, workers=False) as world:
        start = await comment(world, BEN)
        async with stream(world, CLEO, after_id=start) as comments:
            reading = asyncio.create_task(take(comments, 1))
            await wait_until_listening(world)
            await comment(world, DAN, "unannounced")
            while not reading.done():
                world.clock.advance(2)
                await asyncio.sleep(0.005)
            assert await reading == ["unannounced"]


async def test_a_video_that_one_may_not_see_has_no_stream(world: GraphWorld) -> None:
    world.videos.hidden_from.add((BEN, VIDEO))
    with pytest.raises(AppError) as caught:
        async with stream(world, BEN) as comments:
            await take(comments, 1)
    assert caught.value.reason is Reason.NOT_FOUND


async def test_the_stream_ends_when_the_video_is_deleted(world: GraphWorld) -> None:
    start = await comment(world, BEN)
    async with stream(world, CLEO, after_id=start) as comments:
        reading = asyncio.create_task(take(comments, 1))
        await wait_until_listening(world)
        del world.videos.authors[VIDEO]
        event = Event(id=world.platform.ids.next(), actor_id=ANNA, entity=f"video:{VIDEO}", entity_version=2)
        event.video_deleted.CopyFrom(VideoDeleted(video_id=VIDEO, author_id=ANNA))
        await world.publish("video", event)
        with pytest.raises(AppError) as caught:
            await reading
    assert caught.value.reason is Reason.NOT_FOUND


async def test_no_comment_is_sent_once_the_video_can_not_be_seen(world: GraphWorld) -> None:
    start = await comment(world, BEN)
    async with stream(world, CLEO, after_id=start) as comments:
        reading = asyncio.create_task(take(comments, 1))
        await wait_until_listening(world)
        world.videos.hidden_from.add((CLEO, VIDEO))
        world.clock.advance(1.5)
        await comment(world, DAN, "secret")
        with pytest.raises(AppError) as caught:
            await reading
    assert caught.value.reason is Reason.NOT_FOUND


async def test_a_stream_outlives_the_access_token_that_opened_it(world: GraphWorld) -> None:
    start = await comment(world, BEN)
    async with stream(world, CLEO, after_id=start) as comments:
        reading = asyncio.create_task(take(comments, 1))
        await wait_until_listening(world)
        asked = len(world.videos.tokens)
        world.clock.advance(3600)
        await comment(world, DAN, "an hour later")
        assert await reading == ["an hour later"]
    # Dan's comment asked with his token; the stream without one, before or after it.
    assert "" in world.videos.tokens[asked:]


async def test_every_listener_gets_each_comment_once_under_load(world: GraphWorld) -> None:
    start = await comment(world, BEN)
    wanted = [str(i) for i in range(30)]

    async def listen(viewer: int) -> list[str]:
        async with stream(world, viewer, after_id=start) as comments:
            return await take(comments, len(wanted))

    listeners = [asyncio.create_task(listen(viewer)) for viewer in (0, ANNA, CLEO, DAN)]
    for text in wanted:
        await comment(world, BEN, text)
    assert [await listener for listener in listeners] == [wanted] * 4
