"""Scores, through the real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rank_svc.features.cached import CachedFeatureStore
from rank_svc.features.store import FeatureStore
from rank_svc.ranking.value import value
from rank_svc.scorers.store import OBJECTIVES, Predictions
from rank_svc.settings import RankSettings
from reelgraph.common.v1.client_pb2 import ClientContext
from reelgraph.rank.v1 import ranking_pb2 as pb
from reelgraph.rank.v1.features_pb2 import Interaction, ViewerContext
from svc_kit.errors import AppError, Reason
from svc_kit.rpc.client import AS_SERVICE
from tests.support.rank import RankBench, rank_bench


async def rank(bench: RankBench, ids: list[int], viewer: ViewerContext | None = None, **more: Any) -> Any:
    request = pb.RankCandidatesRequest(viewer=viewer or ViewerContext(viewer_id=7), video_ids=ids, **more)
    return await bench.platform.peer.call(bench.ranking.RankCandidates, request, AS_SERVICE)


def scores(response: Any) -> dict[int, float]:
    return {c.video_id: c.score for c in response.candidates}


async def test_taste_and_rates_decide_the_order(bench: RankBench) -> None:
    s = bench.story
    await bench.tell(*(s.published(i, author_id=900 + i, tags=["cats" if i <= 5 else "cars"]) for i in range(1, 11)))
    await bench.tell(*(s.watched(7, i) for i in (1, 2, 3)), *(s.skipped(7, i) for i in (6, 7)))
    await bench.tell(*(s.watched(100 + n, 4) for n in range(5)), *(s.skipped(100 + n, 5) for n in range(5)))
    await bench.refresh()

    response = await rank(bench, [9, 4, 5])
    found = {c.video_id: c for c in response.candidates}

    assert [c.video_id for c in response.candidates] == [9, 4, 5]
    assert found[4].score > found[5].score > found[9].score
    assert found[4].affinity > 0.5 > found[9].affinity
    assert found[9].negative > found[4].negative
    assert response.model_version == "base-1"


async def test_a_skip_reported_a_moment_ago_counts(bench: RankBench) -> None:
    s = bench.story
    await bench.tell(s.published(1, tags=["cats"]), s.published(2, tags=["cats"]))
    await bench.refresh()
    now = int(bench.clock.now().timestamp() * 1000)
    refused = Interaction(video_id=2, author_id=900, watched_ms=200, duration_ms=10_000, at_ms=now, skipped=True)

    neutral = scores(await rank(bench, [1]))
    after = scores(await rank(bench, [1], ViewerContext(viewer_id=7, recent=[refused])))

    assert after[1] < neutral[1]


async def test_a_video_of_which_nothing_is_known_gets_the_prior(bench: RankBench) -> None:
    await bench.tell(bench.story.published(1, tags=["cats"]), bench.story.watched(7, 1))
    await bench.refresh()

    response = await rank(bench, [2**63 - 1, 1, 424242])
    unknown, known, other = response.candidates

    assert (unknown.video_id, unknown.affinity) == (2**63 - 1, 0)
    assert (unknown.score, unknown.like) == (other.score, other.like)
    assert 0 < unknown.like < known.like and unknown.watch_ms > 0


async def test_a_video_for_followers_alone_is_ranked_by_its_content(bench: RankBench) -> None:
    s = bench.story
    await bench.tell(
        s.published(1, tags=["cats"]), s.watched(7, 1), s.published(2, tags=["cats"], visibility="FOLLOWERS")
    )
    await bench.refresh()

    response = await rank(bench, [2], followed=[True])

    assert response.candidates[0].affinity > 0.5


async def test_followed_authors_and_ones_own_language_are_preferred(bench: RankBench) -> None:
    await bench.tell(bench.story.published(1, language="de"), bench.story.published(2, language="en"))
    await bench.refresh()
    german = ViewerContext(viewer_id=7, client=ClientContext(language="de-CH"))

    by_language = scores(await rank(bench, [1, 2], german))
    by_follow = scores(await rank(bench, [1, 2], german, followed=[False, True]))

    assert by_language[1] > by_language[2]
    assert by_follow[2] > by_language[2]


async def test_the_same_request_is_answered_alike(bench: RankBench) -> None:
    await bench.tell(*(bench.story.published(i, tags=["cats"]) for i in range(1, 101)))
    await bench.tell(*(bench.story.watched(7, i) for i in range(1, 11)))
    await bench.refresh()

    first, second = await rank(bench, list(range(1, 101))), await rank(bench, list(range(1, 101)))
    alone = await rank(bench, [50])

    assert first == second
    assert alone.candidates[0].score == pytest.approx(first.candidates[49].score, abs=1e-5)


@pytest.mark.parametrize("count", [0, 500])
async def test_as_many_as_asked_come_in_the_order_asked(bench: RankBench, count: int) -> None:
    ids = list(range(count, 0, -1))

    assert [c.video_id for c in (await rank(bench, ids)).candidates] == ids


async def test_the_same_video_twice_is_scored_twice(bench: RankBench) -> None:
    response = await rank(bench, [5, 5])

    assert [c.video_id for c in response.candidates] == [5, 5]


async def test_too_many_videos_and_flags_that_do_not_match_are_refused_by_name(bench: RankBench) -> None:
    for ids, flags, field in ((list(range(1, 502)), [], "video_ids"), ([1], [True] * 2, "followed")):
        with pytest.raises(AppError) as caught:
            await rank(bench, ids, followed=flags)
        assert caught.value.reason is Reason.BAD_USER_INPUT
        assert caught.value.violations[0].field == field


async def test_a_viewer_may_not_ask(bench: RankBench) -> None:
    request = pb.RankCandidatesRequest(viewer=ViewerContext(viewer_id=7))
    with pytest.raises(AppError) as caught:
        await bench.platform.peer.call(bench.ranking.RankCandidates, request, bench.platform.tokens.viewer(7))

    assert caught.value.reason is Reason.FORBIDDEN


async def test_features_are_read_once_whatever_the_number(
    tmp_path: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    inner = CachedFeatureStore.read

    async def counting(self: CachedFeatureStore, ids: Any) -> Any:
        reads.append(len(ids))
        return await inner(self, ids)

    monkeypatch.setattr(CachedFeatureStore, "read", counting)
    async with rank_bench(tmp_path, base_model) as bench:
        await bench.tell(*(bench.story.published(i, tags=["cats"]) for i in range(1, 201)), bench.story.watched(7, 1))
        await bench.refresh()
        reads.clear()

        await rank(bench, list(range(1, 201)))

    assert len(reads) == 1


async def test_the_cache_forgets_after_its_time_and_holds_no_more_than_its_limit(bench: RankBench) -> None:
    from rank_svc.features.stores.sql import SqlFeatureStore
    from svc_kit.db import connect

    db = connect(bench.platform.settings.service_db_url("rank"))
    store: FeatureStore = CachedFeatureStore(SqlFeatureStore(db), bench.clock, ttl_s=1, most=2)
    await bench.tell(bench.story.published(1), bench.story.watched(1, 1))
    first = await store.read([1, 2, 3])
    await bench.tell(bench.story.watched(2, 1), bench.story.published(3))
    evicted, kept = await store.read([1]), await store.read([3])
    bench.clock.advance(2)
    later = await store.read([3])
    await db.close()

    assert first[1].stats.views == 1 and set(first) == {1}
    assert evicted[1].stats.views == 2
    assert (kept, set(later)) == ({}, {3})


def test_watch_time_counts_against_what_is_typical_for_the_length() -> None:
    settings = RankSettings()
    same = {name: np.full(3, 0.1, np.float32) for name in OBJECTIVES}
    predictions = Predictions(same | {"watch_ms": np.array([3_000, 30_000, 30_000], np.float32)})
    typical_ms = np.array([3_000, 30_000, 10_000], np.float32)

    completion = np.full(3, 0.3, np.float32)
    short, long, gripping = value(predictions, np.zeros(3, np.float32), typical_ms, completion, settings)

    assert short == long < gripping
