"""Likes, shares and counters over a real server."""

from __future__ import annotations

from typing import Any

import pytest

from reelgraph.graph.v1 import engagement_pb2 as pb
from svc_kit.errors import AppError, Reason, UserCode
from tests.support.graph_world import ANNA, BEN, CLEO, VIDEO, GraphWorld, open_graph_world

KEY = "0123456789abcdef"


async def like(world: GraphWorld, user_id: int, video_id: int = VIDEO, key: str = "") -> Any:
    answer = await world.call(world.engagement.LikeVideo, pb.LikeVideoRequest(video_id=video_id), user_id, key)
    return answer.engagement


async def unlike(world: GraphWorld, user_id: int) -> Any:
    answer = await world.call(world.engagement.UnlikeVideo, pb.UnlikeVideoRequest(video_id=VIDEO), user_id)
    return answer.engagement


async def share(world: GraphWorld, user_id: int, channel: Any = pb.SHARE_CHANNEL_LINK, key: str = "") -> Any:
    request = pb.ShareVideoRequest(video_id=VIDEO, channel=channel)
    return (await world.call(world.engagement.ShareVideo, request, user_id, key)).engagement


async def numbers(world: GraphWorld, viewer: int = 0, video_id: int = VIDEO) -> pb.VideoEngagement:
    request = pb.BatchGetVideoEngagementRequest(video_ids=[video_id])
    found: pb.VideoEngagement = (
        await world.call(world.engagement.BatchGetVideoEngagement, request, viewer)
    ).engagements[0]
    return found


async def received(world: GraphWorld, user_id: int, viewer: int = 0) -> int:
    request = pb.BatchGetReceivedLikesRequest(user_ids=[user_id])
    answer = await world.call(world.engagement.BatchGetReceivedLikes, request, viewer)
    return int(answer.received_likes[0].like_count)


async def test_a_like_counts_once_however_often_it_is_given(world: GraphWorld) -> None:
    assert await like(world, BEN) == pb.VideoEngagement(video_id=VIDEO, like_count=1, viewer_has_liked=True)
    assert (await like(world, BEN)).like_count == 1
    await world.settle()
    assert (await like(world, CLEO)).like_count == 2
    await world.settle()
    assert await numbers(world) == pb.VideoEngagement(video_id=VIDEO, like_count=2)
    assert await received(world, ANNA) == 2
    assert [e.entity for e in await world.events("engagement")] == ["like:2:100", "like:3:100"]


async def test_a_like_taken_back_counts_no_more(world: GraphWorld) -> None:
    await like(world, BEN)
    assert (await unlike(world, BEN)).like_count == 0
    assert (await unlike(world, BEN)).viewer_has_liked is False
    await like(world, BEN)
    await world.settle()
    assert (await numbers(world, BEN)).like_count == 1
    assert [e.entity_version for e in await world.events("engagement")] == [1, 2, 3]


async def test_viewers_read_their_own_writes_before_they_are_counted(tmp_path: Any) -> None:
    async with open_graph_world(tmp_path, workers=False) as world:
        await like(world, BEN)
        await share(world, BEN)
        assert await numbers(world, BEN) == pb.VideoEngagement(
            video_id=VIDEO, like_count=1, share_count=1, viewer_has_liked=True
        )
        assert await numbers(world, CLEO) == pb.VideoEngagement(video_id=VIDEO)
        assert (await received(world, ANNA, BEN), await received(world, ANNA)) == (1, 0)


async def test_each_share_counts_but_for_the_same_key(world: GraphWorld) -> None:
    assert (await share(world, BEN)).share_count == 1
    assert (await share(world, BEN, key=KEY)).share_count == 2
    assert (await share(world, BEN, pb.SHARE_CHANNEL_LINK, KEY)).share_count == 2
    await world.settle()
    assert (await numbers(world)).share_count == 2
    with pytest.raises(AppError) as caught:
        await share(world, BEN, pb.SHARE_CHANNEL_QR, KEY)
    assert caught.value.user_code is UserCode.KEY_REUSED


@pytest.mark.parametrize(("channel", "code"), [(0, UserCode.REQUIRED), (77, UserCode.INVALID)])
async def test_an_unknown_channel_is_bad_input(world: GraphWorld, channel: int, code: UserCode) -> None:
    with pytest.raises(AppError) as caught:
        await share(world, BEN, channel)
    assert (caught.value.violations[0].field, caught.value.user_code) == ("channel", code)


async def test_the_same_key_answers_with_the_counts_of_the_first_time(world: GraphWorld) -> None:
    first = await like(world, BEN, key=KEY)
    await like(world, CLEO)
    await world.settle()
    assert await like(world, BEN, key=KEY) == first


@pytest.mark.parametrize("method", ["LikeVideo", "UnlikeVideo", "ShareVideo"])
async def test_a_video_that_the_caller_may_not_see_is_not_found(world: GraphWorld, method: str) -> None:
    world.videos.hidden_from.add((BEN, VIDEO))
    fields = {"channel": pb.SHARE_CHANNEL_LINK} if method == "ShareVideo" else {}
    for video_id in (VIDEO, 12345):
        request = getattr(pb, f"{method}Request")(video_id=video_id, **fields)
        with pytest.raises(AppError) as caught:
            await world.call(getattr(world.engagement, method), request, BEN)
        assert (caught.value.reason, caught.value.violations[0].field) == (Reason.NOT_FOUND, "video_id")
    assert await world.events("engagement") == []


async def test_when_visibility_can_not_be_told_nothing_is_written(world: GraphWorld) -> None:
    world.videos.down = True
    with pytest.raises(AppError) as caught:
        await like(world, BEN)
    assert caught.value.reason is Reason.UNAVAILABLE
    assert await world.events("engagement") == []


async def test_nobody_can_like_without_logging_in(world: GraphWorld) -> None:
    with pytest.raises(AppError) as caught:
        await like(world, 0)
    assert caught.value.reason is Reason.UNAUTHENTICATED


async def test_a_batch_answers_one_entry_an_id_in_order(world: GraphWorld) -> None:
    await like(world, BEN)
    await world.settle()
    request = pb.BatchGetVideoEngagementRequest(video_ids=[7, VIDEO, 7])
    answer = await world.call(world.engagement.BatchGetVideoEngagement, request)
    assert [(e.video_id, e.like_count) for e in answer.engagements] == [(7, 0), (VIDEO, 1), (7, 0)]


async def test_a_replay_of_the_whole_log_and_a_rebuild_change_no_counter(world: GraphWorld) -> None:
    for user_id in (BEN, CLEO, ANNA):
        await like(world, user_id)
    await unlike(world, CLEO)
    await share(world, BEN)
    added = await world.call(world.engagement.AddComment, pb.AddCommentRequest(video_id=VIDEO, text="hi"), BEN)
    await world.call(
        world.engagement.AddComment,
        pb.AddCommentRequest(video_id=VIDEO, text="ho", parent_id=added.comment.id),
        ANNA,
    )
    await world.call(world.engagement.LikeComment, pb.LikeCommentRequest(comment_id=added.comment.id), ANNA)
    await world.settle()
    before = await numbers(world)
    assert (before.like_count, before.comment_count, before.share_count) == (2, 2, 1)
    await world.replay()
    assert await numbers(world) == before
    await world.service.rebuilds["engagement_counters"]()
    assert (await numbers(world), await received(world, ANNA)) == (before, 2)
    comment = await world.call(world.engagement.BatchGetComments, pb.BatchGetCommentsRequest(ids=[added.comment.id]))
    assert (comment.comments[0].like_count, comment.comments[0].reply_count) == (1, 1)


async def test_a_rebuild_repairs_wrong_counters(world: GraphWorld) -> None:
    from graph_svc.schema import counters

    await like(world, BEN)
    await world.settle()
    async with world.db.write() as connection:
        await connection.execute(counters.parts.update().values(total=41))
    await world.service.rebuilds["engagement_counters"]()
    assert (await numbers(world)).like_count == 1
    assert await received(world, ANNA) == 1


async def test_counters_survive_the_loss_of_the_cache(world: GraphWorld) -> None:
    await like(world, BEN)
    await world.settle()
    assert (await numbers(world)).like_count == 1
    await world.platform.cache.flushall()
    await like(world, CLEO)
    await world.settle()
    assert (await numbers(world)).like_count == 2
