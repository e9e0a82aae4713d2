"""Features from events: counted once, whatever comes twice, late or again from the start."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import Table, insert, select

from rank_svc.features.stores import tables as t
from rank_svc.schema import metadata
from reelgraph.events.v1.engagement_pb2 import EngagementCommentAdded, EngagementCommentDeleted
from reelgraph.events.v1.event_pb2 import Event
from reelgraph.events.v1.follow_pb2 import FollowCreated, FollowDeleted
from reelgraph.media.v1 import videos_pb2 as media_pb
from reelgraph.media.v1 import videos_pb2_grpc as media_grpc
from reelgraph.rank.v1 import features_pb2 as pb
from svc_kit.db import connect
from svc_kit.rpc.client import AS_SERVICE
from svc_kit.rpc.server import Servicer
from svc_kit.service import Service
from tests.support.rank import RankBench, once

PROJECTION = (t.video_stats, t.video_slices, t.length_buckets, t.author_stats, t.viewer_history, t.videos)


async def values(bench: RankBench, video_id: int) -> dict[str, float]:
    request = pb.BatchGetVideoFeaturesRequest(video_ids=[video_id])
    response = await bench.platform.peer.call(bench.features.BatchGetVideoFeatures, request, AS_SERVICE)
    return dict(response.features[0].values)


async def rows(bench: RankBench, *tables: Table) -> dict[str, list[Any]]:
    """All rows but for the time of writing; heats rounded, for sums of floats depend on their order."""
    db = connect(bench.platform.settings.service_db_url("rank"))
    found: dict[str, list[Any]] = {}
    async with db.read() as connection:
        for table in tables:
            columns = [c for c in table.c if c.name != "changed_at_ms"]
            lines = (await connection.execute(select(*columns).order_by(*table.primary_key.columns))).all()
            found[table.name] = [tuple(round(v, 6) if isinstance(v, float) else v for v in line) for line in lines]
    await db.close()
    return found


def history(bench: RankBench) -> list[Event]:
    s = bench.story
    follow = s.event("follow:1:900", 1, follow_created=FollowCreated(follower_id=1, followee_id=900))
    unfollow = s.event("follow:1:900", 1, follow_deleted=FollowDeleted(follower_id=1, followee_id=900))
    comment = EngagementCommentAdded(comment_id=5, video_id=1, video_author_id=900, author_id=2, text="!")
    return [
        *(s.published(i, tags=["cats"]) for i in (1, 2, 3)),
        *(s.watched(viewer, 1, ratio) for viewer, ratio in ((1, 1.0), (2, 0.5), (3, 0.2))),
        s.skipped(4, 1),
        s.liked(1, 1),
        s.liked(2, 1),
        s.liked(2, 1, back=True),
        s.shared(1, 1),
        s.refused(4, 1),
        s.served(1, [1, 2]),
        s.served(2, [1]),
        s.event("comment:5", 2, engagement_comment_added=comment),
        s.event("comment:5", 2, engagement_comment_deleted=EngagementCommentDeleted(comment_id=5, video_id=1)),
        follow,
        unfollow,
        s.event("follow:2:900", 2, follow_created=FollowCreated(follower_id=2, followee_id=900)),
        s.interested(1, ["cats"]),
        s.deleted(3),
    ]


async def test_counts_and_rates_are_what_was_done(bench: RankBench) -> None:
    await bench.tell(*history(bench))

    found = await values(bench, 1)

    assert (found["views"], found["impressions"], found["author_followers"], found["known"]) == (4, 2, 1, 1)
    assert found["views_1h"] == pytest.approx(4)
    # 1 of 4 watches reached the end; 8 typical ones of this length and of the 4 measured weigh in.
    typical = (1 + 0.42 * 20) / 24
    assert found["completion_rate"] == pytest.approx((1 + 8 * typical) / 12, rel=1e-4)
    assert found["completion_lift"] == pytest.approx(found["completion_rate"] - typical, rel=1e-3)
    assert found["like_rate"] == pytest.approx((1 + 0.04 * 30) / 34, rel=1e-4)
    assert found["comment_rate"] == pytest.approx(0.01 * 60 / 64, rel=1e-4)
    assert found["skip_rate"] == pytest.approx((1 + 2.5) / 14, rel=1e-4)


async def test_a_replay_of_the_whole_log_changes_nothing(bench: RankBench) -> None:
    await bench.tell(*history(bench))
    before = await rows(bench, *PROJECTION, t.viewers)

    await bench.tell(*bench.seen)
    await bench.tell(*random.Random(1).sample(bench.seen, len(bench.seen)))

    assert await rows(bench, *PROJECTION, t.viewers) == before


async def test_the_order_across_viewers_and_batches_does_not_matter(bench: RankBench) -> None:
    events = history(bench)
    await bench.tell(*events)
    before = await rows(bench, *PROJECTION)
    db = connect(bench.platform.settings.service_db_url("rank"))
    async with db.write() as connection:
        for table in reversed(metadata.sorted_tables):
            await connection.execute(table.delete())
    await db.close()

    by_actor: dict[tuple[str, int], list[Event]] = {}
    for event in events:
        by_actor.setdefault(((event.WhichOneof("body") or "").partition("_")[0], event.actor_id), []).append(event)
    order = random.Random(2)
    while by_actor:
        key = order.choice(sorted(by_actor))
        await bench.tell(by_actor[key].pop(0))
        if not by_actor[key]:
            del by_actor[key]

    assert await rows(bench, *PROJECTION) == before


class PublishedVideos:
    """media_svc, as far as a rebuild asks it."""

    async def ListPublishedVideos(
        self, request: media_pb.ListPublishedVideosRequest, context: Any
    ) -> media_pb.ListPublishedVideosResponse:
        known: dict[str, Any] = {"author_id": 900, "hashtags": ["cats"], "duration_ms": 10_000, "version": 1}
        known |= {"has_audio": True, "visibility": media_pb.VISIBILITY_PUBLIC}
        videos = [media_pb.Video(id=i, **known) for i in (1, 2) if i > request.after_id]
        return media_pb.ListPublishedVideosResponse(videos=videos)

    def __getattr__(self, name: str) -> Any:
        return None  # Registered with the server, never called.


async def test_a_rebuild_makes_the_same_features_from_the_log_again(bench: RankBench) -> None:
    await bench.tell(*history(bench))
    before = await rows(bench, *PROJECTION)
    db = connect(bench.platform.settings.service_db_url("rank"))
    async with db.write() as connection:
        await connection.execute(t.video_stats.delete())
        await connection.execute(insert(t.video_stats).values(video_id=1, views=999))
    await db.close()
    descriptor = media_pb.DESCRIPTOR.services_by_name["VideoService"]
    servicer = Servicer(descriptor, PublishedVideos(), media_grpc.add_VideoServiceServicer_to_server)

    async with bench.platform.serve(Service("media", [servicer])):
        counts = [await bench.service.rebuilds["features"]() for _ in range(2)]

    assert counts == [len(bench.seen)] * 2
    assert await rows(bench, *PROJECTION) == before


async def test_a_watch_that_comes_after_a_newer_like_is_still_the_watch(bench: RankBench) -> None:
    s = bench.story
    watch = s.watched(1, 1, ago_s=5)
    await bench.tell(s.published(1), s.liked(1, 1), watch)

    ((_, _, _, watched_ms, duration_ms, *_, like_version, _),) = (await rows(bench, t.viewer_history))["viewer_history"]

    assert (watched_ms, duration_ms, like_version) == (10_000, 10_000, 1)


async def test_what_was_counted_long_ago_is_forgotten_and_never_counted_again(bench: RankBench) -> None:
    await bench.tell(*history(bench))
    before = await rows(bench, *PROJECTION)
    bench.clock.advance(31 * 24 * 3600)
    await once(bench.clock, next(job for job in bench.service.workers if job.name == "rank.prune").run)
    assert await rows(bench, t.counted_events) == {"counted_events": []}

    await bench.tell(*bench.seen)

    assert await rows(bench, *PROJECTION) == before


async def test_a_rebuild_keeps_where_viewers_are(bench: RankBench) -> None:
    await bench.tell(bench.story.interested(1, ["cats"]))
    db = connect(bench.platform.settings.service_db_url("rank"))
    async with db.write() as connection:
        await connection.execute(t.viewers.update().values(language="de", utc_offset_hours=2))
    await db.close()
    before = await rows(bench, t.viewers)
    servicer = Servicer(
        media_pb.DESCRIPTOR.services_by_name["VideoService"],
        PublishedVideos(),
        media_grpc.add_VideoServiceServicer_to_server,
    )

    async with bench.platform.serve(Service("media", [servicer])):
        await bench.service.rebuilds["features"]()

    assert await rows(bench, t.viewers) == before


async def test_old_watches_weigh_less_in_the_rates_of_the_hour_and_the_day(bench: RankBench) -> None:
    s = bench.story
    await bench.tell(s.published(1), s.watched(1, 1, ago_s=3600), s.watched(2, 1, ago_s=86400))

    found = await values(bench, 1)

    assert found["views_1h"] == pytest.approx(0.5, abs=0.001)
    assert found["views_24h"] == pytest.approx(2 ** (-1 / 24) + 0.5, abs=0.001)


async def test_watching_a_short_clip_whole_is_not_worth_a_long_one(bench: RankBench) -> None:
    s = bench.story
    await bench.tell(s.published(1, duration_ms=3_000), s.published(2, duration_ms=60_000))
    for viewer in range(10):
        short = s.watched(viewer + 1, 1, watched_ms=3_000, duration_ms=3_000, completed=True)
        await bench.tell(short, s.watched(viewer + 1, 2, watched_ms=60_000, duration_ms=60_000, completed=True))

    short_clip, long_clip = await values(bench, 1), await values(bench, 2)

    assert long_clip["completion_lift"] > short_clip["completion_lift"] > 0


async def test_a_viewers_features_and_vector_come_from_their_history(bench: RankBench) -> None:
    await bench.tell(*history(bench))
    await bench.refresh()

    request = pb.BatchGetViewerFeaturesRequest(viewer_ids=[99, 4, 1])
    response = await bench.platform.peer.call(bench.features.BatchGetViewerFeatures, request, AS_SERVICE)

    assert [f.viewer_id for f in response.features] == [4, 1]
    skipper, fan = response.features
    assert (fan.values["loved"], fan.values["likes"], skipper.values["not_interested"]) == (1, 1, 1)
    assert len(fan.embedding) == 64 and response.model_version == "base-1"


async def test_an_embedding_is_answered_for_indexed_videos_alone(bench: RankBench) -> None:
    s = bench.story
    await bench.tell(s.published(1, tags=["cats"]), s.published(2, visibility="PRIVATE"))
    await bench.refresh()

    request = pb.BatchGetVideoFeaturesRequest(video_ids=[2, 1, 3])
    response = await bench.platform.peer.call(bench.features.BatchGetVideoFeatures, request, AS_SERVICE)

    assert [(f.video_id, len(f.embedding)) for f in response.features] == [(2, 0), (1, 64)]


async def test_a_deleted_account_leaves_no_history(bench: RankBench) -> None:
    s = bench.story
    await bench.tell(s.published(1, tags=["cats"]), s.watched(7, 1), s.interested(7, ["cats"]), s.gone(7))
    await bench.refresh()

    found = await rows(bench, t.viewer_history)
    request = pb.BatchGetViewerFeaturesRequest(viewer_ids=[7])
    response = await bench.platform.peer.call(bench.features.BatchGetViewerFeatures, request, AS_SERVICE)

    assert found["viewer_history"] == []
    assert all(not feature.embedding for feature in response.features)


async def test_a_logged_out_watch_counts_for_the_video_and_for_nobodys_history(bench: RankBench) -> None:
    await bench.tell(bench.story.published(1), bench.story.watched(0, 1))

    assert (await values(bench, 1))["views"] == 1
    assert (await rows(bench, t.viewer_history))["viewer_history"] == []
