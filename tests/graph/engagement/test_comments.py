"""Comments over a real server."""

from __future__ import annotations

from typing import Any

import pytest

from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.video_pb2 import VideoDeleted
from reelgraph.graph.v1 import engagement_pb2 as pb
from reelgraph.graph.v1 import follows_pb2
from svc_kit.errors import AppError, Reason, UserCode
from tests.support.graph_world import ANNA, BEN, CLEO, DAN, VIDEO, GraphWorld

KEY = "0123456789abcdef"


async def comment(world: GraphWorld, user_id: int, text: str = "hi", parent_id: int = 0, **more: Any) -> pb.Comment:
    request = pb.AddCommentRequest(video_id=more.pop("video_id", VIDEO), text=text, parent_id=parent_id)
    added: pb.Comment = (await world.call(world.engagement.AddComment, request, user_id, **more)).comment
    return added


async def delete(world: GraphWorld, user_id: int, comment_id: int) -> Any:
    request = pb.DeleteCommentRequest(comment_id=comment_id)
    return await world.call(world.engagement.DeleteComment, request, user_id)


async def listed(world: GraphWorld, viewer: int = 0, parent_id: int = 0, **page: Any) -> pb.ListCommentsResponse:
    request = pb.ListCommentsRequest(video_id=VIDEO, parent_id=parent_id, **page)
    answer: pb.ListCommentsResponse = await world.call(world.engagement.ListComments, request, viewer)
    return answer


def texts(page: pb.ListCommentsResponse) -> list[str | None]:
    return [e.comment.text if e.comment.HasField("text") else None for e in page.entries]


async def block(world: GraphWorld, blocker: int, blocked: int) -> None:
    await world.call(world.follows.BlockUser, follows_pb2.BlockUserRequest(user_id=blocked), blocker)


async def test_a_comment_is_trimmed_and_told_with_all_who_are_concerned(world: GraphWorld) -> None:
    added = await comment(world, BEN, "  look, @Cleo and @nobody and @cleo!\r\n\tnice  ")
    assert added.text == "look, @Cleo and @nobody and @cleo!\n nice"
    assert (added.author_id, added.video_id, added.parent_id) == (BEN, VIDEO, 0)
    (event,) = await world.events("engagement")
    told = event.engagement_comment_added
    assert (event.entity, event.entity_version, event.actor_id) == (f"comment:{added.id}", 1, BEN)
    assert (told.video_author_id, told.parent_author_id, list(told.mentioned_ids)) == (ANNA, 0, [CLEO])


async def test_a_reply_to_a_reply_stands_under_the_same_top_level_comment(world: GraphWorld) -> None:
    top = await comment(world, BEN)
    reply = await comment(world, CLEO, "first", top.id)
    deeper = await comment(world, DAN, "second", reply.id)
    assert (reply.parent_id, deeper.parent_id) == (top.id, top.id)
    told = (await world.events("engagement"))[-1].engagement_comment_added
    assert (told.parent_id, told.parent_author_id) == (top.id, CLEO)
    assert texts(await listed(world, parent_id=top.id)) == ["first", "second"]
    await world.settle()
    assert (await listed(world)).entries[0].comment.reply_count == 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", UserCode.REQUIRED),
        (" \n\t ", UserCode.REQUIRED),
        ("\u200b", UserCode.REQUIRED),
        ("x" * 2201, UserCode.TOO_LONG),
        ("x" * 10_000, UserCode.TOO_LONG),
        ("a\x00b", UserCode.INVALID),
    ],
)
async def test_bad_text_is_refused_naming_field_and_limit(world: GraphWorld, text: str, code: UserCode) -> None:
    with pytest.raises(AppError) as caught:
        await comment(world, BEN, text)
    assert (caught.value.violations[0].field, caught.value.user_code) == ("text", code)
    if code is UserCode.TOO_LONG:
        assert "2200" in caught.value.message
        assert str(len(text)) in caught.value.message
    assert await world.events("engagement") == []


async def test_text_may_be_exactly_the_limit_after_trimming(world: GraphWorld) -> None:
    assert len((await comment(world, BEN, "é" * 2200 + "   ")).text) == 2200


async def test_comments_that_are_turned_off_are_forbidden(world: GraphWorld) -> None:
    world.videos.without_comments.add(VIDEO)
    with pytest.raises(AppError) as caught:
        await comment(world, BEN)
    violation = caught.value.violations[0]
    assert (caught.value.reason, violation.field, violation.code) == (
        *(Reason.FORBIDDEN, "video_id", UserCode.FORBIDDEN),
    )


async def test_a_parent_must_be_a_standing_comment_under_the_same_video(world: GraphWorld) -> None:
    world.videos.authors[200] = ANNA
    elsewhere = await comment(world, BEN, video_id=200)
    deleted = await comment(world, BEN)
    await delete(world, BEN, deleted.id)
    blocked = await comment(world, CLEO)
    await block(world, CLEO, BEN)
    for parent_id in (elsewhere.id, deleted.id, blocked.id, 4711):
        with pytest.raises(AppError) as caught:
            await comment(world, BEN, parent_id=parent_id)
        assert (caught.value.reason, caught.value.violations[0].field) == (Reason.NOT_FOUND, "parent_id")
    with pytest.raises(AppError) as caught:
        await comment(world, BEN, parent_id=-1)
    assert caught.value.violations[0].field == "parent_id"


async def test_the_same_key_writes_one_comment(world: GraphWorld) -> None:
    first = await comment(world, BEN, key=KEY)
    assert await comment(world, BEN, key=KEY) == first
    assert texts(await listed(world)) == ["hi"]
    with pytest.raises(AppError) as caught:
        await comment(world, BEN, "other", key=KEY)
    assert caught.value.user_code is UserCode.KEY_REUSED


async def test_writers_and_the_videos_author_delete_and_nobody_else(world: GraphWorld) -> None:
    own, others = await comment(world, BEN, "own"), await comment(world, BEN, "others")
    with pytest.raises(AppError) as caught:
        await delete(world, CLEO, own.id)
    assert (caught.value.reason, caught.value.violations[0].field) == (Reason.FORBIDDEN, "comment_id")
    assert (await delete(world, BEN, own.id)).deleted_comment_id == own.id
    await delete(world, ANNA, others.id)
    await delete(world, ANNA, others.id)
    assert texts(await listed(world)) == []
    events = [e for e in await world.events("engagement") if e.HasField("engagement_comment_deleted")]
    assert [(e.entity_version, e.actor_id) for e in events] == [(2, BEN), (2, ANNA)]
    await world.settle()
    request = pb.BatchGetVideoEngagementRequest(video_ids=[VIDEO])
    answer = await world.call(world.engagement.BatchGetVideoEngagement, request)
    assert answer.engagements[0].comment_count == 0


async def test_deleting_what_one_may_not_see_is_not_found(world: GraphWorld) -> None:
    added = await comment(world, BEN)
    world.videos.hidden_from |= {(CLEO, VIDEO), (BEN, VIDEO)}
    for user_id, comment_id in ((CLEO, added.id), (CLEO, 4711)):
        with pytest.raises(AppError) as caught:
            await delete(world, user_id, comment_id)
        assert (caught.value.reason, caught.value.violations[0].field) == (Reason.NOT_FOUND, "comment_id")
    await delete(world, BEN, added.id)


async def test_a_deleted_comment_is_listed_without_its_text_only_while_it_has_replies(world: GraphWorld) -> None:
    top = await comment(world, BEN, "top")
    reply = await comment(world, CLEO, "reply", top.id)
    await comment(world, BEN, "newer")
    await delete(world, BEN, top.id)
    assert texts(await listed(world)) == ["newer", None]
    found = await world.call(world.engagement.BatchGetComments, pb.BatchGetCommentsRequest(ids=[top.id]))
    assert not found.comments[0].HasField("text")
    await delete(world, CLEO, reply.id)
    assert texts(await listed(world)) == ["newer"]


async def test_lists_page_without_repeating_or_skipping(world: GraphWorld) -> None:
    for i in range(5):
        await comment(world, BEN, str(i))
    first = await listed(world, page_size=2)
    second = await listed(world, page_size=2, page_token=first.next_page_token)
    third = await listed(world, page_token=second.entries[1].page_token)
    assert [texts(p) for p in (first, second, third)] == [["4", "3"], ["2", "1"], ["0"]]
    assert third.next_page_token == ""
    for bad in ("nonsense", first.next_page_token[:-1]):
        with pytest.raises(AppError) as caught:
            await listed(world, page_token=bad)
        assert caught.value.violations[0].field == "page_token"
    with pytest.raises(AppError):
        await listed(world, parent_id=1, page_token=first.next_page_token)


async def test_blocked_writers_comments_are_hidden_both_ways(world: GraphWorld) -> None:
    bens, cleos = await comment(world, BEN, "ben"), await comment(world, CLEO, "cleo")
    await block(world, BEN, CLEO)
    assert texts(await listed(world, BEN)) == ["ben"]
    assert texts(await listed(world, CLEO)) == ["cleo"]
    assert texts(await listed(world)) == ["cleo", "ben"]
    request = pb.BatchGetCommentsRequest(ids=[cleos.id, bens.id, 4711])
    found = await world.call(world.engagement.BatchGetComments, request, BEN)
    assert [c.id for c in found.comments] == [bens.id]
    with pytest.raises(AppError) as caught:
        await world.call(world.engagement.LikeComment, pb.LikeCommentRequest(comment_id=cleos.id), BEN)
    assert caught.value.reason is Reason.NOT_FOUND


async def test_comments_of_a_video_that_one_may_not_see_are_not_there(world: GraphWorld) -> None:
    added = await comment(world, BEN)
    world.videos.hidden_from |= {(CLEO, VIDEO), (0, VIDEO)}
    for viewer in (CLEO, 0):
        assert texts(await listed(world, viewer)) == []
        found = await world.call(world.engagement.BatchGetComments, pb.BatchGetCommentsRequest(ids=[added.id]), viewer)
        assert list(found.comments) == []
    with pytest.raises(AppError) as caught:
        await comment(world, CLEO)
    assert (caught.value.reason, caught.value.violations[0].field) == (Reason.NOT_FOUND, "video_id")


async def test_reads_fail_closed_when_visibility_can_not_be_told(world: GraphWorld) -> None:
    added = await comment(world, BEN)
    world.videos.down = True
    for call in (
        listed(world),
        world.call(world.engagement.BatchGetComments, pb.BatchGetCommentsRequest(ids=[added.id])),
    ):
        with pytest.raises(AppError) as caught:
            await call
        assert caught.value.reason is Reason.UNAVAILABLE


async def test_a_comments_like_counts_once_and_is_taken_back(world: GraphWorld) -> None:
    added = await comment(world, BEN)
    request = pb.LikeCommentRequest(comment_id=added.id)
    for _ in range(2):
        answer = await world.call(world.engagement.LikeComment, request, CLEO)
        assert (answer.comment.like_count, answer.comment.viewer_has_liked) == (1, True)
    await world.settle()
    assert (await listed(world, DAN)).entries[0].comment.like_count == 1
    answer = await world.call(world.engagement.UnlikeComment, pb.UnlikeCommentRequest(comment_id=added.id), CLEO)
    assert (answer.comment.like_count, answer.comment.viewer_has_liked) == (0, False)
    assert [e.entity for e in await world.events("engagement")][1:] == [f"comment_like:3:{added.id}"] * 2
    for bad in (0, 4711):
        with pytest.raises(AppError) as caught:
            await world.call(world.engagement.LikeComment, pb.LikeCommentRequest(comment_id=bad), CLEO)
        assert caught.value.violations[0].field == "comment_id"


async def test_a_deleted_videos_comments_are_gone_for_good_and_no_new_ones_are_taken(world: GraphWorld) -> None:
    ids = [(await comment(world, BEN, str(i))).id for i in range(3)]
    deleted = Event(id=world.platform.ids.next(), actor_id=ANNA, entity=f"video:{VIDEO}", entity_version=3)
    deleted.video_deleted.CopyFrom(VideoDeleted(video_id=VIDEO, author_id=ANNA))
    await world.publish("video", deleted)
    await world.settle()
    await world.publish("video", deleted)
    await world.settle()
    found = await world.call(world.engagement.BatchGetComments, pb.BatchGetCommentsRequest(ids=ids))
    assert [c.HasField("text") for c in found.comments] == [False] * 3
    events = [e for e in await world.events("engagement") if e.HasField("engagement_comment_deleted")]
    assert sorted(e.engagement_comment_deleted.comment_id for e in events) == ids
    with pytest.raises(AppError) as caught:
        await comment(world, BEN)
    assert (caught.value.reason, caught.value.violations[0].field) == (Reason.NOT_FOUND, "video_id")
