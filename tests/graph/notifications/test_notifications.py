"""Notifications over a real server, from commands to lists and streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.video_pb2 import VideoFacts, VideoPublished
from reelgraph.graph.v1 import engagement_pb2, follows_pb2
from reelgraph.graph.v1 import notifications_pb2 as pb
from svc_kit.errors import AppError, Reason, UserCode
from tests.support.graph_world import ANNA, BEN, CLEO, DAN, EVE, VIDEO, GraphWorld, open_graph_world

DAY_S = 24 * 3600
KEY = "0123456789abcdef"


async def like(world: GraphWorld, user_id: int, video_id: int = VIDEO) -> None:
    await world.call(world.engagement.LikeVideo, engagement_pb2.LikeVideoRequest(video_id=video_id), user_id)


async def unlike(world: GraphWorld, user_id: int) -> None:
    await world.call(world.engagement.UnlikeVideo, engagement_pb2.UnlikeVideoRequest(video_id=VIDEO), user_id)


async def comment(world: GraphWorld, user_id: int, text: str = "hi", parent_id: int = 0) -> int:
    request = engagement_pb2.AddCommentRequest(video_id=VIDEO, text=text, parent_id=parent_id)
    return int((await world.call(world.engagement.AddComment, request, user_id)).comment.id)


async def follow(world: GraphWorld, follower: int, followee: int) -> None:
    await world.call(world.follows.FollowUser, follows_pb2.FollowUserRequest(user_id=followee), follower)


async def listed(world: GraphWorld, viewer: int, **page: Any) -> pb.ListNotificationsResponse:
    await world.settle()
    request = pb.ListNotificationsRequest(**page)
    answer: pb.ListNotificationsResponse = await world.call(world.notifications.ListNotifications, request, viewer)
    return answer


def told(page: pb.ListNotificationsResponse) -> list[tuple[str, list[int], int]]:
    found = [entry.notification for entry in page.entries]
    return [(pb.NotificationKind.Name(n.kind)[18:], list(n.actor_ids), n.actor_count) for n in found]


async def unread(world: GraphWorld, viewer: int) -> int:
    await world.settle()
    answer = await world.call(world.notifications.GetUnreadCount, pb.GetUnreadCountRequest(), viewer)
    return int(answer.unread_count)


async def mark(world: GraphWorld, viewer: int, up_to_id: int, key: str = "") -> int:
    request = pb.MarkNotificationsReadRequest(up_to_id=up_to_id)
    return int((await world.call(world.notifications.MarkNotificationsRead, request, viewer, key)).unread_count)


async def test_likes_of_one_video_and_day_make_one_notification(world: GraphWorld) -> None:
    for user_id in (BEN, CLEO, DAN, EVE, ANNA):
        await like(world, user_id)
    page = await listed(world, ANNA)
    assert told(page) == [("LIKE", [EVE, DAN, CLEO], 4)]
    notification = page.entries[0].notification
    assert (notification.video_id, notification.comment_id, notification.read) == (VIDEO, 0, False)
    assert notification.created_at.ToDatetime() == world.clock.now().replace(tzinfo=None)
    assert await unread(world, ANNA) == 1


async def test_every_kind_reaches_its_receiver_and_nobody_else(world: GraphWorld) -> None:
    top = await comment(world, BEN, "look")
    await comment(world, CLEO, "yes @Dan", top)
    await world.call(world.engagement.LikeComment, engagement_pb2.LikeCommentRequest(comment_id=top), DAN)
    await follow(world, EVE, ANNA)
    assert told(await listed(world, ANNA)) == [("FOLLOW", [EVE], 1), ("COMMENT", [CLEO, BEN], 2)]
    assert told(await listed(world, BEN)) == [("LIKE", [DAN], 1), ("REPLY", [CLEO], 1)]
    assert told(await listed(world, DAN)) == [("MENTION", [CLEO], 1)]
    assert told(await listed(world, CLEO)) == told(await listed(world, EVE)) == []
    by_like = (await listed(world, BEN)).entries[0].notification
    assert (by_like.comment_id, by_like.video_id) == (top, VIDEO)


async def test_one_comment_is_told_once_to_one_receiver_by_the_closest_reason(world: GraphWorld) -> None:
    top = await comment(world, ANNA, "mine")
    await comment(world, BEN, "@anna", top)
    await comment(world, CLEO, "@anna")
    await comment(world, ANNA, "@anna to myself", top)
    assert told(await listed(world, ANNA)) == [("MENTION", [CLEO], 1), ("REPLY", [BEN], 1)]


async def test_an_author_hears_of_their_published_video(world: GraphWorld) -> None:
    event = Event(id=world.platform.ids.next(), actor_id=ANNA, entity=f"video:{VIDEO}", entity_version=2)
    event.video_published.CopyFrom(VideoPublished(video=VideoFacts(video_id=VIDEO, author_id=ANNA)))
    for _ in range(2):
        await world.publish("video", event)
    page = await listed(world, ANNA)
    assert told(page) == [("VIDEO_READY", [], 0)]
    assert (page.entries[0].notification.id, page.entries[0].notification.video_id) == (event.id, VIDEO)


async def test_doing_it_again_is_not_told_again_the_same_day_but_the_next(world: GraphWorld) -> None:
    await like(world, BEN)
    first = (await listed(world, ANNA)).entries[0].notification.id
    await unlike(world, BEN)
    await like(world, BEN)
    await follow(world, BEN, ANNA)
    await world.call(world.follows.UnfollowUser, follows_pb2.UnfollowUserRequest(user_id=ANNA), BEN)
    await follow(world, BEN, ANNA)
    page = await listed(world, ANNA)
    assert (told(page), page.entries[1].notification.id) == ([("FOLLOW", [BEN], 1), ("LIKE", [BEN], 1)], first)
    world.clock.advance(DAY_S)
    await unlike(world, BEN)
    await like(world, BEN)
    assert told(await listed(world, ANNA)) == [("LIKE", [BEN], 1), ("FOLLOW", [BEN], 1), ("LIKE", [BEN], 1)]


async def test_two_comments_of_one_writer_are_two_facts_of_one_group(world: GraphWorld) -> None:
    first = await comment(world, BEN, "one")
    read = await listed(world, ANNA)
    assert await mark(world, ANNA, read.entries[0].notification.id) == 0
    newest = await comment(world, BEN, "two")
    page = await listed(world, ANNA)
    assert told(page) == [("COMMENT", [BEN], 1)]
    assert first < newest == page.entries[0].notification.comment_id
    assert await unread(world, ANNA) == 1


@pytest.mark.parametrize(("blocker", "blocked"), [(ANNA, BEN), (BEN, ANNA)])
async def test_nothing_is_told_across_a_block_of_either_side(world: GraphWorld, blocker: int, blocked: int) -> None:
    await like(world, BEN)
    assert len(told(await listed(world, ANNA))) == 1
    await world.call(world.follows.BlockUser, follows_pb2.BlockUserRequest(user_id=blocked), blocker)
    assert (told(await listed(world, ANNA)), await unread(world, ANNA)) == ([], 0)
    await comment(world, BEN, "@anna")
    await world.settle()
    await world.call(world.follows.UnblockUser, follows_pb2.UnblockUserRequest(user_id=blocked), blocker)
    await world.replay()
    assert told(await listed(world, ANNA)) == [("LIKE", [BEN], 1)]


async def test_muted_actors_are_not_told_of(world: GraphWorld) -> None:
    await world.call(world.follows.MuteUser, follows_pb2.MuteUserRequest(user_id=BEN), ANNA)
    await like(world, BEN)
    await like(world, CLEO)
    assert told(await listed(world, ANNA)) == [("LIKE", [CLEO], 1)]


async def test_a_replay_of_the_whole_log_changes_nothing(world: GraphWorld) -> None:
    await like(world, BEN)
    await unlike(world, BEN)
    await like(world, BEN)
    await comment(world, CLEO)
    await follow(world, DAN, ANNA)
    before, unread_before = await listed(world, ANNA), await unread(world, ANNA)
    await world.replay()
    assert (await listed(world, ANNA), await unread(world, ANNA)) == (before, unread_before)


async def test_pages_of_groups_neither_repeat_nor_skip_over_days(world: GraphWorld) -> None:
    kinds = []
    for day in range(3):
        await like(world, BEN)
        await comment(world, CLEO, str(day))
        await world.settle()
        world.clock.advance(DAY_S)
        await unlike(world, BEN)
        kinds += ["LIKE", "COMMENT"]
    await comment(world, DAN, "late")
    everything = await listed(world, ANNA)
    ids = [entry.notification.id for entry in everything.entries]
    assert len(ids) == 7
    assert ids == sorted(ids, reverse=True)
    found, token = [], ""
    while True:
        page = await listed(world, ANNA, page_size=2, page_token=token)
        found += [entry.notification.id for entry in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert found == ids
    after = await listed(world, ANNA, page_token=everything.entries[2].page_token)
    assert [entry.notification.id for entry in after.entries] == ids[3:]


async def test_older_facts_of_a_shown_group_do_not_bring_it_again(world: GraphWorld) -> None:
    await like(world, BEN)
    await comment(world, CLEO)
    await like(world, DAN)
    first = await listed(world, ANNA, page_size=1)
    second = await listed(world, ANNA, page_size=1, page_token=first.next_page_token)
    assert (told(first), told(second)) == ([("LIKE", [DAN, BEN], 2)], [("COMMENT", [CLEO], 1)])
    assert second.next_page_token == ""


async def test_somebody_elses_or_malformed_tokens_are_bad_input(world: GraphWorld) -> None:
    await like(world, BEN)
    token = (await listed(world, ANNA)).entries[0].page_token
    for viewer, bad in ((BEN, token), (ANNA, "x" + token), (ANNA, "?")):
        with pytest.raises(AppError) as caught:
            await listed(world, viewer, page_token=bad)
        assert (caught.value.reason, caught.value.violations[0].field) == (Reason.BAD_USER_INPUT, "page_token")


async def test_any_fact_finds_its_group_for_its_receiver_alone(world: GraphWorld) -> None:
    await like(world, BEN)
    old = (await listed(world, ANNA)).entries[0].notification.id
    await like(world, CLEO)
    await follow(world, DAN, ANNA)
    await world.settle()
    request = pb.BatchGetNotificationsRequest(ids=[4711, old])
    found = await world.call(world.notifications.BatchGetNotifications, request, ANNA)
    (group,) = found.notifications
    assert (list(group.actor_ids), group.id > old) == ([CLEO, BEN], True)
    assert list((await world.call(world.notifications.BatchGetNotifications, request, BEN)).notifications) == []


async def test_marking_read_moves_forward_only(world: GraphWorld) -> None:
    await follow(world, BEN, ANNA)
    await like(world, CLEO)
    await comment(world, DAN)
    ids = [entry.notification.id for entry in (await listed(world, ANNA)).entries]
    assert await mark(world, ANNA, ids[1]) == 1
    assert [e.notification.read for e in (await listed(world, ANNA)).entries] == [False, True, True]
    assert await mark(world, ANNA, ids[2]) == 1
    assert await unread(world, ANNA) == 1
    assert await mark(world, ANNA, ids[0]) == await unread(world, ANNA) == 0
    await like(world, EVE)
    assert await unread(world, ANNA) == 1


async def test_the_same_key_answers_as_at_first(world: GraphWorld) -> None:
    await like(world, BEN)
    up_to = (await listed(world, ANNA)).entries[0].notification.id
    assert await mark(world, ANNA, up_to, KEY) == 0
    await comment(world, CLEO)
    await world.settle()
    assert await mark(world, ANNA, up_to, KEY) == 0
    with pytest.raises(AppError) as caught:
        await mark(world, ANNA, up_to + 1, KEY)
    assert caught.value.user_code is UserCode.KEY_REUSED


async def test_an_unknown_or_somebody_elses_fact_can_not_be_marked(world: GraphWorld) -> None:
    await like(world, BEN)
    fact = (await listed(world, ANNA)).entries[0].notification.id
    for viewer, up_to in ((ANNA, 4711), (BEN, fact)):
        with pytest.raises(AppError) as caught:
            await mark(world, viewer, up_to)
        assert (caught.value.reason, caught.value.violations[0].field) == (Reason.NOT_FOUND, "up_to_id")
    with pytest.raises(AppError) as caught:
        await mark(world, ANNA, 0)
    assert caught.value.reason is Reason.BAD_USER_INPUT
    assert await unread(world, ANNA) == 1


async def test_nobody_reads_notifications_without_logging_in(world: GraphWorld) -> None:
    with pytest.raises(AppError) as caught:
        await listed(world, 0)
    assert caught.value.reason is Reason.UNAUTHENTICATED


def stream(world: GraphWorld, viewer: int, after_id: int = 0) -> Any:
    request = pb.StreamNotificationsRequest(after_id=after_id)
    return aclosing(world.stream(world.notifications.StreamNotifications, request, viewer))


async def take(facts: AsyncIterator[Any], count: int) -> list[Any]:
    async with asyncio.timeout(20):
        return [(await anext(facts)).notification for _ in range(count)]


async def test_the_stream_sends_missed_facts_then_new_ones_each_once(world: GraphWorld) -> None:
    await like(world, BEN)
    seen = (await listed(world, ANNA)).entries[0].notification.id
    await comment(world, CLEO)
    await world.settle()
    async with stream(world, ANNA, after_id=seen) as facts:
        (missed,) = await take(facts, 1)
        assert (missed.kind, list(missed.actor_ids), missed.actor_count) == (pb.NOTIFICATION_KIND_COMMENT, [CLEO], 1)
        await like(world, DAN)
        await follow(world, EVE, ANNA)
        await like(world, BEN)
        kinds = {(n.kind, n.actor_ids[0], n.read) for n in await take(facts, 2)}
        assert kinds == {(pb.NOTIFICATION_KIND_LIKE, DAN, False), (pb.NOTIFICATION_KIND_FOLLOW, EVE, False)}


async def test_a_resumed_stream_misses_nothing_that_arrived_in_between(world: GraphWorld) -> None:
    await follow(world, BEN, ANNA)
    last = (await listed(world, ANNA)).entries[0].notification.id
    got: list[int] = []
    for _ in range(3):
        for user_id in (BEN, CLEO, DAN, EVE):
            await comment(world, user_id)
        async with stream(world, ANNA, after_id=last) as facts:
            part = await take(facts, 4)
        got += [n.comment_id for n in part]
        last = part[-1].id
    assert len(set(got)) == len(got) == 12


async def test_actors_blocked_since_are_skipped_on_the_stream(world: GraphWorld) -> None:
    await follow(world, EVE, ANNA)
    start = (await listed(world, ANNA)).entries[0].notification.id
    await like(world, BEN)
    await like(world, CLEO)
    await world.settle()
    await world.call(world.follows.BlockUser, follows_pb2.BlockUserRequest(user_id=ANNA), BEN)
    async with stream(world, ANNA, after_id=start) as facts:
        (fact,) = await take(facts, 1)
        assert list(fact.actor_ids) == [CLEO]


async def test_the_stream_looks_by_itself_when_wake_ups_are_lost(world: GraphWorld, monkeypatch: Any) -> None:
    async def lost(topics: Any) -> None:
        return None

    monkeypatch.setattr("svc_kit.wakeups.Wakeups.wake", lambda self, topics: lost(topics))
    await follow(world, EVE, ANNA)
    start = (await listed(world, ANNA)).entries[0].notification.id
    async with stream(world, ANNA, after_id=start) as facts:
        reading = asyncio.create_task(take(facts, 1))
        await like(world, BEN)
        while not reading.done():
            world.clock.advance(2)
            await asyncio.sleep(0.005)
        assert list((await reading)[0].actor_ids) == [BEN]


async def test_without_workers_nothing_is_told_and_nothing_fails(tmp_path: Any) -> None:
    async with open_graph_world(tmp_path, workers=False) as world:
        await like(world, BEN)
        answer = await world.call(world.notifications.GetUnreadCount, pb.GetUnreadCountRequest(), ANNA)
        assert answer.unread_count == 0
