"""Publishing, changing and removing videos, and what other services' events do to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reelgraph.events.v1.account_pb2 import AccountDeleted
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.moderation_pb2 import ModerationVideoRemoved
from reelgraph.media.v1.uploads_pb2 import ClaimAvatarRequest, UploadState
from reelgraph.media.v1.videos_pb2 import DeleteVideoRequest, UpdateVideoRequest, Video, VideoState, Visibility
from svc_kit.bus.port import Record
from svc_kit.errors import AppError, Reason, UserCode
from tests.support.media import MediaBench, eventually


async def _send(bench: MediaBench, topic: str, **body: Any) -> None:
    event = Event(id=bench.platform.ids.next(), actor_id=7, entity=f"{topic}:1", entity_version=1, **body)
    await bench.platform.bus.publish([Record(topic, 7, event.id, event.entity, event.SerializeToString())])


async def _until_state(bench: MediaBench, user: int, video_id: int, state: int | None) -> None:
    wanted = [] if state is None else [state]

    async def reached() -> bool:
        return [video.state for video in await bench.seen(user, video_id)] == wanted

    await eventually(reached)


async def _events(bench: MediaBench) -> list[Event]:
    async with bench.platform.bus.consumer("test", ["video"]) as consumer:
        deliveries = await consumer.poll(100, 1.0)
        return [Event.FromString(d.record.payload) for d in deliveries]


async def test_a_takedown_stops_every_copy_and_bans_the_bytes(bench: MediaBench, clip: Callable[..., bytes]) -> None:
    data = clip()
    mine = await bench.publish(1, (await bench.upload(1, data)).id, caption="words")
    copy = await bench.publish(2, (await bench.upload(2, data)).id)
    removed = ModerationVideoRemoved(video_id=mine.id, reason="Against the rules.")
    for _ in range(2):
        await _send(bench, "moderation", moderation_video_removed=removed)
    await _until_state(bench, 1, mine.id, VideoState.VIDEO_STATE_REMOVED)
    await _until_state(bench, 2, copy.id, VideoState.VIDEO_STATE_REMOVED)
    (seen,) = await bench.seen(1, mine.id)
    assert (seen.failure_reason, seen.HasField("playback")) == ("Against the rules.", False)
    assert await bench.seen(3, mine.id, copy.id) == []
    assert (await bench.http.get(mine.playback.hls_url)).status_code == 404

    assert (await bench.begin(1, data)).state == UploadState.UPLOAD_STATE_RECEIVING
    failed = await bench.upload(3, data)
    assert (failed.state, failed.failure_code) == (UploadState.UPLOAD_STATE_FAILED, "BANNED")
    with pytest.raises(AppError) as refused:
        await bench.call(bench.videos.UpdateVideo, UpdateVideoRequest(video_id=mine.id, caption="x"), 1)
    assert refused.value.user_code is UserCode.CONFLICT
    gone = [e.video_deleted.video_id for e in await _events(bench) if e.HasField("video_deleted")]
    assert sorted(gone) == sorted([mine.id, copy.id])


async def test_nothing_of_a_deleted_account_is_left(bench: MediaBench, clip: Callable[..., bytes]) -> None:
    video = await bench.publish(1, (await bench.upload(1, clip())).id)
    waiting = await bench.begin(1, b"x" * 100)
    await _send(bench, "account", account_deleted=AccountDeleted(account_id=1))
    await _until_state(bench, 1, video.id, None)
    assert (await bench.http.get(video.playback.hls_url)).status_code == 404
    assert (await bench.states(1, waiting.id))[-1].state == UploadState.UPLOAD_STATE_ABORTED


async def test_a_change_of_words_is_told_once_and_keeps_its_urls(bench: MediaBench, clip: Callable[..., bytes]) -> None:
    video = await bench.publish(1, (await bench.upload(1, clip())).id, language="de", allow_comments=False)
    changed = await _update(bench, video, caption="#New words")
    assert (changed.caption, list(changed.hashtags)) == ("#New words", ["new"])
    assert changed.version > video.version and not changed.allow_comments
    assert changed.playback.hls_url == video.playback.hls_url
    assert (await _update(bench, video, caption="#New words")).version == changed.version
    told = [e for e in await _events(bench) if e.HasField("video_updated")]
    (facts,) = [e.video_updated.video for e in told]
    assert (facts.caption, list(facts.hashtags), facts.visibility, facts.language) == (
        "#New words",
        ["new"],
        "PUBLIC",
        "de",
    )


async def _update(bench: MediaBench, video: Video, **fields: Any) -> Video:
    request = UpdateVideoRequest(video_id=video.id, **fields)
    changed: Video = (await bench.call(bench.videos.UpdateVideo, request, 1)).video
    return changed


async def test_what_can_not_be_published_is_refused_with_its_reason(bench: MediaBench) -> None:
    for user, upload_id, reason in ((1, 12345, Reason.NOT_FOUND), (0, 12345, Reason.UNAUTHENTICATED)):
        with pytest.raises(AppError) as refused:
            await bench.publish(user, upload_id)
        assert refused.value.reason is reason
    upload = await bench.begin(1, b"x" * 100)
    with pytest.raises(AppError) as others:
        await bench.publish(2, upload.id)
    assert others.value.reason is Reason.NOT_FOUND
    with pytest.raises(AppError) as long:
        await bench.publish(1, upload.id, caption="x" * 2201)
    assert long.value.user_code is UserCode.TOO_LONG
    video = await bench.publish(1, upload.id)
    await bench.call(bench.videos.DeleteVideo, DeleteVideoRequest(video_id=video.id), 1)
    assert (await bench.get(1, upload.id)).state == UploadState.UPLOAD_STATE_ABORTED
    with pytest.raises(AppError) as deleted:
        await bench.publish(1, upload.id)
    assert deleted.value.user_code is UserCode.CONFLICT


async def test_a_video_that_is_not_public_is_published_quietly_with_its_facts(
    bench: MediaBench, clip: Callable[..., bytes]
) -> None:
    upload = await bench.upload(1, clip())
    followers = Visibility.VISIBILITY_FOLLOWERS
    video = await bench.publish(1, upload.id, visibility=followers, idempotency_key="k" * 16)
    again = await bench.publish(1, upload.id, visibility=followers, idempotency_key="k" * 16)
    assert again.id == video.id
    ready, published = await _events(bench)
    assert published.video_published.video.visibility == "FOLLOWERS"
    assert (ready.video_ready.upload_id, ready.actor_id, ready.entity) == (upload.id, 1, f"video:{video.id}")
    assert published.video_published.video.duration_ms == video.duration_ms > 0
    assert (await bench.get(1, upload.id)).video_id == video.id


async def test_an_unfinished_image_is_no_avatar(bench: MediaBench) -> None:
    upload = await bench.begin(1, b"x" * 100, "image/png")
    with pytest.raises(AppError) as refused:
        await bench.call(bench.uploads.ClaimAvatar, ClaimAvatarRequest(upload_id=upload.id), 1)
    assert refused.value.user_code is UserCode.CONFLICT
