"""Who is offered where little is known: young videos on trial, and viewers known by their surroundings alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from rank_svc.settings import RankSettings
from reelgraph.common.v1.client_pb2 import ClientContext
from reelgraph.rank.v1 import retrieval_pb2 as pb
from reelgraph.rank.v1.features_pb2 import ViewerContext
from svc_kit.ids import EPOCH_MS
from tests.support.rank import RankBench, rank_bench

S = pb.CandidateSource
NEW, COLD = S.CANDIDATE_SOURCE_NEW, S.CANDIDATE_SOURCE_COLD_START


def of(response: Any, source: Any) -> list[int]:
    return [c.video_id for c in response.candidates if c.source == source]


def quota(**limits: int) -> list[Any]:
    quotas: Any = pb.SourceQuota
    return [quotas(source=S.Value(f"CANDIDATE_SOURCE_{name}"), limit=limit) for name, limit in limits.items()]


async def test_new_offers_the_young_ones_shown_least_first_until_they_had_their_impressions(
    tmp_path: Path, base_model: Path
) -> None:
    settings = RankSettings(guaranteed_impressions=3, trial_impressions=3, popular_cache_s=0)
    async with rank_bench(tmp_path, base_model, settings) as bench:
        old = int((bench.clock.now().timestamp() - 30 * 86400) * 1000)
        await bench.tell(*(bench.story.published(i) for i in (1, 2, 3)), bench.story.published(4, published_at_ms=old))
        await bench.tell(*(bench.story.served(5, [1]) for _ in range(3)), bench.story.served(5, [2]))
        await bench.refresh()

        response = await bench.retrieve(ViewerContext(viewer_id=7), quotas=quota(NEW=10))

        assert of(response, NEW) == [3, 2]
        assert REGISTRY.get_sample_value("reelgraph_rank_owed_impressions") == 3 + 2


async def test_after_their_impressions_young_videos_are_offered_by_how_their_viewers_took_them(
    tmp_path: Path, base_model: Path
) -> None:
    settings = RankSettings(guaranteed_impressions=2, trial_impressions=10, popular_cache_s=0, feature_cache_s=0)
    async with rank_bench(tmp_path, base_model, settings) as bench:
        await bench.tell(*(bench.story.published(i) for i in (1, 2, 3, 4)))
        await bench.tell(
            *(bench.story.served(5, [1, 2, 3]) for _ in range(2)), *(bench.story.watched(n, 2) for n in (6, 7))
        )
        await bench.tell(*(bench.story.skipped(n, 1) for n in (6, 7)), *(bench.story.served(5, [3]) for _ in range(9)))
        await bench.refresh()

        response = await bench.retrieve(ViewerContext(viewer_id=8), quotas=quota(NEW=10))
        trials = {c.video_id: c.trial for c in response.candidates}

        assert of(response, NEW) == [4, 2, 1]
        assert [trials[i].impressions for i in (4, 2, 1)] == [0, 2, 2]
        assert trials[2].completions == trials[2].watches == pytest.approx(2)
        assert (trials[1].completions, trials[1].guaranteed) == (0, 2)


async def test_a_trial_goes_along_whatever_source_gives_the_video(bench: RankBench) -> None:
    old = int((bench.clock.now().timestamp() - 30 * 86400) * 1000)
    await bench.tell(bench.story.published(1), bench.story.published(2, published_at_ms=old))
    await bench.refresh()

    response = await bench.retrieve(ViewerContext(viewer_id=7), quotas=quota(COLD_START=10))

    assert {c.video_id: c.HasField("trial") for c in response.candidates} == {1: True, 2: False}


async def test_a_burst_of_accounts_of_an_hour_ago_hardly_moves_a_trial_or_a_popular_list(bench: RankBench) -> None:
    now = int(bench.clock.now().timestamp() * 1000)
    fresh = [((now - 3_600_000 - EPOCH_MS) << 22) + n for n in range(40)]
    await bench.tell(bench.story.published(1), bench.story.published(2))
    await bench.tell(*(bench.story.watched(i, 1) for i in fresh), *(bench.story.watched(100 + n, 2) for n in range(5)))
    await bench.refresh()

    response = await bench.retrieve(ViewerContext(), quotas=quota(COLD_START=10))
    trials = {c.video_id: c.trial for c in response.candidates}

    assert of(response, COLD) == [2, 1]
    assert trials[1].watches < 15 and trials[2].watches == pytest.approx(5)


async def test_what_is_watched_more_but_finished_less_than_usual_for_its_length_fades(bench: RankBench) -> None:
    await bench.tell(bench.story.published(1, duration_ms=3_000), bench.story.published(2, duration_ms=60_000))
    watches = [
        bench.story.watched(n, 1, watched_ms=2_250, duration_ms=3_000, completed=n < 5) for n in range(1, 13)
    ] + [bench.story.watched(n, 2, watched_ms=18_000, duration_ms=60_000, completed=n < 6) for n in range(1, 11)]
    await bench.tell(*watches)
    await bench.refresh()

    response = await bench.retrieve(ViewerContext(), quotas=quota(COLD_START=10))

    assert of(response, COLD) == [2, 1]


async def test_a_cold_start_says_what_speaks_most_for_each_and_knows_the_device(bench: RankBench) -> None:
    await bench.tell(*(bench.story.published(i, tags=[f"tag{i}"]) for i in (1, 2, 3)))
    for viewer in (21, 22):
        await bench.retrieve(ViewerContext(viewer_id=viewer, client=ClientContext(device="TV")))
    for viewer in (31, 32):
        await bench.retrieve(ViewerContext(viewer_id=viewer, client=ClientContext(device="phone", language="fr-CA")))
    await bench.refresh("rank.surroundings")
    await bench.tell(*(bench.story.watched(viewer, 1) for viewer in (21, 22)))
    await bench.tell(*(bench.story.watched(viewer, 2) for viewer in (31, 32)))
    await bench.refresh()
    bench.clock.advance(10)

    async def told(**context: Any) -> dict[int, str]:
        response = await bench.retrieve(ViewerContext(local_hour=3, **context), quotas=quota(COLD_START=10))
        return {
            c.video_id: pb.CandidateSignal.Name(c.signal).removeprefix("CANDIDATE_SIGNAL_") for c in response.candidates
        }

    on_tv = await told(client=ClientContext(device="tv"))
    assert next(iter(on_tv)) == 1 and on_tv[3] == "FRESH"
    assert next(iter(await told(client=ClientContext(device="phone")))) == 2
    assert (await told(interests=["tag3"]))[3] == "INTEREST"
    assert (await told(client=ClientContext(region="XX")))[1] == "POPULAR"


async def test_an_unknown_viewer_gets_a_cold_start_by_interests_language_and_popularity(bench: RankBench) -> None:
    await bench.tell(
        bench.story.published(1, tags=["cats"], language="de"),
        bench.story.published(2, tags=["cars"], language="en"),
        bench.story.published(3, tags=["dance"], language="en-GB"),
    )
    await bench.tell(*(bench.story.watched(100 + n, 2) for n in range(5)))
    await bench.refresh()

    async def first(**context: Any) -> int:
        response = await bench.retrieve(ViewerContext(**context), quotas=quota(COLD_START=10))
        assert len(of(response, COLD)) == 3
        return of(response, COLD)[0]

    assert await first() == 2
    assert await first(interests=["dance"]) == 3
    assert await first(client=ClientContext(language="de-AT")) == 1
    assert await first(viewer_id=2**63 - 1) == 2


async def test_what_is_popular_in_a_region_comes_first_there(bench: RankBench) -> None:
    await bench.tell(bench.story.published(1), bench.story.published(2))
    for viewer in (21, 22):
        await bench.retrieve(ViewerContext(viewer_id=viewer, client=ClientContext(region="FR", language="fr")))
    await bench.refresh("rank.surroundings")
    await bench.tell(*(bench.story.watched(viewer, 1) for viewer in (21, 22)))
    await bench.tell(*(bench.story.watched(100 + n, 2) for n in range(3)))
    await bench.refresh()
    bench.clock.advance(10)

    french = ViewerContext(client=ClientContext(region="fr"), local_hour=3)
    response = await bench.retrieve(french, quotas=quota(COLD_START=10))

    assert of(response, COLD) == [1, 2]


async def test_nobody_fills_a_trial_or_a_popular_list_by_themselves(bench: RankBench) -> None:
    await bench.tell(bench.story.published(1), bench.story.published(2))
    for _ in range(20):
        await bench.tell(bench.story.watched(7, 1), bench.story.watched(7, 1), bench.story.shared(7, 1))
        await bench.tell(bench.story.liked(7, 1), bench.story.liked(7, 1, back=True))
    await bench.tell(*(bench.story.watched(n, 2) for n in range(11, 15)), bench.story.shared(11, 2))
    await bench.refresh()

    response = await bench.retrieve(ViewerContext(), quotas=quota(COLD_START=10))
    trials = {c.video_id: c.trial for c in response.candidates}

    assert of(response, COLD) == [2, 1]
    assert trials[1].watches < 16 and trials[2].watches == 4


async def test_authors_who_watch_their_own_change_nothing(bench: RankBench) -> None:
    await bench.tell(bench.story.published(1), *(bench.story.watched(900, 1) for _ in range(5)))
    await bench.tell(bench.story.watched(7, 1, 0.5))
    await bench.refresh()

    (candidate,) = (await bench.retrieve(ViewerContext())).candidates

    assert (candidate.trial.watches, candidate.trial.completions) == (1, 0)


async def test_what_is_watched_at_this_hour_of_day_comes_first(bench: RankBench) -> None:
    await bench.tell(bench.story.published(1), bench.story.published(2))
    await bench.tell(*(bench.story.watched(n, 1) for n in range(1, 5)))
    bench.clock.advance(5 * 3600)
    await bench.tell(*(bench.story.watched(n, 2) for n in range(11, 15)))
    await bench.refresh()
    hour = bench.clock.now().hour

    async def first(local_hour: int) -> int:
        response = await bench.retrieve(ViewerContext(local_hour=local_hour), quotas=quota(COLD_START=10))
        return of(response, COLD)[0]

    assert (await first(hour), await first(hour - 5)) == (2, 1)
