"""Candidates, through the real server: taste, similar viewers and videos, new ones, cold start; what is left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rank_svc.settings import RankSettings
from reelgraph.common.v1.client_pb2 import ClientContext
from reelgraph.rank.v1 import retrieval_pb2 as pb
from reelgraph.rank.v1.features_pb2 import Interaction, ViewerContext
from svc_kit.errors import AppError, Reason
from svc_kit.rpc.client import AS_SERVICE
from tests.support.rank import RankBench, rank_bench

TAGS = ("cats", "cars", "cooking", "dance", "chess", "surf", "code", "garden", "football", "music")
S = pb.CandidateSource
TASTE, VIEWERS, SIMILAR = S.CANDIDATE_SOURCE_TASTE, S.CANDIDATE_SOURCE_SIMILAR_VIEWERS, S.CANDIDATE_SOURCE_SIMILAR_VIDEO
NEW, COLD = S.CANDIDATE_SOURCE_NEW, S.CANDIDATE_SOURCE_COLD_START


def video(tag: int, n: int) -> int:
    """Video n of a tag."""
    return 1000 + 100 * tag + n


async def catalogue(bench: RankBench, each: int = 20) -> None:
    events = [
        bench.story.published(video(tag, n), author_id=900 + n, tags=[TAGS[tag]])
        for tag in range(len(TAGS))
        for n in range(each)
    ]
    await bench.tell(*events)
    await bench.refresh()


def of(response: Any, source: Any) -> list[int]:
    return [c.video_id for c in response.candidates if c.source == source]


def quota(**limits: int) -> list[Any]:
    quotas: Any = pb.SourceQuota
    return [quotas(source=S.Value(f"CANDIDATE_SOURCE_{name}"), limit=limit) for name, limit in limits.items()]


def share_of_tag(ids: Sequence[int], tag: int) -> float:
    return sum(video(tag, 0) <= i < video(tag + 1, 0) for i in ids) / max(len(ids), 1)


async def test_after_ten_watches_of_one_tag_taste_leans_to_it_three_times_over_chance(bench: RankBench) -> None:
    await catalogue(bench)
    await bench.tell(*(bench.story.watched(7, video(3, n)) for n in range(10)))
    await bench.tell(*(bench.story.skipped(7, video(5, n)) for n in range(5)))

    response = await bench.retrieve(ViewerContext(viewer_id=7), quotas=quota(TASTE=20))

    assert share_of_tag(of(response, TASTE), 3) >= 3 / len(TAGS)
    assert share_of_tag(of(response, TASTE), 5) == 0
    assert response.model_version == "base-1"


async def test_a_watch_reported_a_moment_ago_counts_before_the_bus_has_carried_it(bench: RankBench) -> None:
    await catalogue(bench)
    now = int(bench.clock.now().timestamp() * 1000)
    recent = [
        Interaction(
            video_id=video(4, n), author_id=900, watched_ms=10_000, duration_ms=10_000, at_ms=now, completed=True
        )
        for n in range(3)
    ]

    response = await bench.retrieve(ViewerContext(viewer_id=8, recent=recent), quotas=quota(TASTE=10))

    assert share_of_tag(of(response, TASTE), 4) >= 0.9


async def test_a_new_video_is_found_by_its_content_alone(bench: RankBench) -> None:
    await catalogue(bench)
    await bench.tell(*(bench.story.watched(7, video(3, n)) for n in range(5)))
    await bench.tell(bench.story.published(5000, author_id=77, tags=[TAGS[3]]))
    await bench.refresh("rank.videos")

    response = await bench.retrieve(ViewerContext(viewer_id=7), quotas=quota(TASTE=30))

    assert 5000 in of(response, TASTE)


async def test_a_deleted_video_never_comes_back(bench: RankBench) -> None:
    await catalogue(bench)
    late = bench.story.updated(video(3, 1), tags=[TAGS[3]])
    await bench.tell(*(bench.story.watched(7, video(3, n)) for n in range(5)), bench.story.deleted(video(3, 1)))
    await bench.refresh("rank.videos")
    again = bench.story.published(video(3, 1), tags=[TAGS[3]])
    await bench.tell(late, again)
    bench.clock.advance(100)
    await bench.refresh("rank.videos")

    response = await bench.retrieve(ViewerContext(viewer_id=7))

    assert video(3, 1) not in [c.video_id for c in response.candidates]


async def test_a_video_that_is_not_public_is_not_offered_and_one_that_becomes_public_is(bench: RankBench) -> None:
    await bench.tell(
        bench.story.published(1, tags=["cats"], visibility="FOLLOWERS"),
        bench.story.published(2, tags=["cats"]),
        bench.story.published(3, tags=["cats"]),
    )
    await bench.refresh()
    first = await bench.retrieve(ViewerContext())
    await bench.tell(bench.story.updated(2, tags=["cats"], visibility="PRIVATE"), bench.story.updated(1, tags=["cats"]))
    bench.clock.advance(10)
    await bench.refresh("rank.videos")
    second = await bench.retrieve(ViewerContext())

    assert {c.video_id for c in first.candidates} == {2, 3}
    assert {c.video_id for c in second.candidates} == {1, 3}


async def test_similar_viewers_offer_what_viewers_of_like_taste_finished(bench: RankBench) -> None:
    await catalogue(bench)
    await bench.tell(
        *(bench.story.watched(7, video(3, n)) for n in range(5)),
        *(bench.story.watched(11, video(3, n)) for n in range(6)),
        bench.story.watched(11, video(8, 1)),
        bench.story.watched(11, video(8, 2), 0.4),
        *(bench.story.watched(12, video(5, n)) for n in range(6)),
    )
    await bench.refresh()

    response = await bench.retrieve(ViewerContext(viewer_id=7), quotas=quota(SIMILAR_VIEWERS=50))
    offered = set(of(response, VIEWERS))

    assert {video(8, 1), video(3, 5)} <= offered
    assert video(8, 2) not in offered
    assert not {video(5, n) for n in range(6)} & offered


async def test_similar_videos_name_the_liked_one_they_are_like(bench: RankBench) -> None:
    await catalogue(bench)
    await bench.tell(bench.story.liked(7, video(2, 0)), bench.story.watched(7, video(6, 0)))

    response = await bench.retrieve(ViewerContext(viewer_id=7), quotas=quota(SIMILAR_VIDEO=20))
    seeds = {c.video_id: c.seed_video_id for c in response.candidates}

    assert seeds and all(share_of_tag([i], 2) == (seed == video(2, 0)) for i, seed in seeds.items())
    assert set(seeds.values()) == {video(2, 0), video(6, 0)}
    assert not set(seeds) & set(seeds.values())


async def test_excluded_videos_and_authors_own_and_refused_videos_are_left_out(bench: RankBench) -> None:
    await bench.tell(
        *(bench.story.published(i, author_id=900 + i, tags=["cats"]) for i in range(1, 7)), bench.story.refused(904, 5)
    )
    await bench.refresh()

    response = await bench.retrieve(
        ViewerContext(viewer_id=904), exclude_video_ids=[1], exclude_author_ids=[902, 2**63 - 1]
    )

    assert {c.video_id for c in response.candidates} == {3, 6}


async def test_no_video_comes_twice_and_quotas_are_kept(bench: RankBench) -> None:
    await catalogue(bench, each=4)
    await bench.tell(*(bench.story.watched(7, video(3, n)) for n in range(4)))

    response = await bench.retrieve(
        ViewerContext(viewer_id=7), quotas=quota(TASTE=3, NEW=2, COLD_START=1_000_000, SIMILAR_VIDEO=0)
    )
    ids = [c.video_id for c in response.candidates]

    assert len(ids) == len(set(ids)) == 40
    assert (len(of(response, NEW)), len(of(response, SIMILAR))) == (2, 0)
    assert 1 <= len(of(response, TASTE)) <= 3
    assert [c.source for c in response.candidates] == sorted(c.source for c in response.candidates)


async def test_a_small_catalogue_is_shared_out_between_the_sources(bench: RankBench) -> None:
    await bench.tell(*(bench.story.published(i, tags=["cats"]) for i in range(1, 21)))
    await bench.tell(
        *(bench.story.watched(7, i) for i in range(1, 6)), *(bench.story.watched(9, i) for i in range(1, 9))
    )
    await bench.refresh()

    response = await bench.retrieve(ViewerContext(viewer_id=7))

    assert {c.source for c in response.candidates} == {TASTE, VIEWERS, SIMILAR, NEW, COLD}


@pytest.mark.parametrize(
    ("source", "limit", "field"), [("UNSPECIFIED", 1, "quotas.0.source"), ("TASTE", -1, "quotas.0.limit")]
)
async def test_a_quota_that_makes_no_sense_is_refused_by_name(
    bench: RankBench, source: str, limit: int, field: str
) -> None:
    with pytest.raises(AppError) as caught:
        await bench.retrieve(ViewerContext(), quotas=quota(**{source: limit}))

    assert caught.value.reason is Reason.BAD_USER_INPUT
    assert [v.field for v in caught.value.violations] == [field]


async def test_strange_viewers_are_never_an_error(bench: RankBench) -> None:
    await catalogue(bench, each=1)
    strange = [
        Interaction(video_id=-5),
        Interaction(video_id=2**63 - 1, at_ms=2**62, watched_ms=-1, duration_ms=-7, completed=True),
        Interaction(video_id=video(1, 0), at_ms=-1, liked=True),
        Interaction(video_id=video(1, 0), at_ms=5, not_interested=True),
    ]
    context = ViewerContext(
        viewer_id=-3, recent=strange, interests=["日本", ""], local_hour=-9, client=ClientContext(language="x" * 500)
    )

    response = await bench.retrieve(context)

    assert len(response.candidates) == len(TAGS) - 1


async def test_similar_videos_of_one_are_nearest_first_without_itself_and_none_when_unknown(bench: RankBench) -> None:
    await catalogue(bench)

    async def similar(video_id: int, size: int) -> list[Any]:
        request = pb.ListSimilarVideosRequest(video_id=video_id, page_size=size)
        response = await bench.platform.peer.call(bench.retrieval.ListSimilarVideos, request, AS_SERVICE)
        return list(response.candidates)

    found = await similar(video(3, 0), 0)

    assert len(found) == 20 and video(3, 0) not in [c.video_id for c in found]
    assert share_of_tag([c.video_id for c in found], 3) == 0.95
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    assert len(await similar(video(3, 0), 1_000_000)) == 100
    assert await similar(2**62, 5) == []


async def test_candidates_tell_what_the_feed_needs(bench: RankBench) -> None:
    await bench.tell(bench.story.published(1, author_id=31, tags=["cats", "naps"]))
    await bench.refresh()

    (candidate,) = (await bench.retrieve(ViewerContext())).candidates

    assert (candidate.author_id, list(candidate.hashtags)) == (31, ["cats", "naps"])
    assert candidate.published_at_ms == int(bench.clock.now().timestamp() * 1000)


@pytest.fixture
async def tiny_index(tmp_path: Path, base_model: Path) -> AsyncIterator[RankBench]:
    async with rank_bench(tmp_path, base_model, RankSettings(viewer_index_size=2)) as bench:
        yield bench


async def test_viewers_beyond_the_limit_are_dropped_by_who_was_active_longest_ago(tiny_index: RankBench) -> None:
    bench = tiny_index
    await catalogue(bench, each=3)
    for viewer in (11, 12, 13):
        await bench.tell(*(bench.story.watched(viewer, video(3, n)) for n in range(viewer - 10)))
        bench.clock.advance(1)
    await bench.refresh()

    response = await bench.retrieve(ViewerContext(viewer_id=13), quotas=quota(SIMILAR_VIEWERS=50))

    assert set(of(response, VIEWERS)) == {video(3, 0), video(3, 1)}
