"""Histories of viewers in Cassandra: from events through the worker to features, vectors and a rebuild."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rank_svc.features.stores.cassandra import TABLES
from reelgraph.media.v1 import videos_pb2 as media_pb
from reelgraph.media.v1 import videos_pb2_grpc as media_grpc
from reelgraph.rank.v1 import features_pb2 as pb
from svc_kit.cassandra.shared import lease
from svc_kit.rpc.client import AS_SERVICE
from svc_kit.rpc.server import Servicer
from svc_kit.service import Service
from tests.rank.test_features import PublishedVideos
from tests.support.engines import servers
from tests.support.rank import RankBench, rank_bench
from tests.support.wide import empty_tables


@pytest.fixture(params=servers("cassandra"))
async def bench(tmp_path: Path, base_model: Path) -> AsyncIterator[RankBench]:
    async with rank_bench(tmp_path, base_model, wide_url=await empty_tables(TABLES)) as bench:
        yield bench


async def described(bench: RankBench, *viewers: int) -> dict[int, pb.ViewerFeatures]:
    request = pb.BatchGetViewerFeaturesRequest(viewer_ids=viewers)
    response = await bench.platform.peer.call(bench.features.BatchGetViewerFeatures, request, AS_SERVICE)
    return {feature.viewer_id: feature for feature in response.features}


async def test_what_viewers_did_is_in_their_features_and_a_replay_changes_nothing(bench: RankBench) -> None:
    s = bench.story
    await bench.tell(*(s.published(i, tags=["cats"]) for i in range(1, 6)))
    events = [s.watched(7, 1), s.liked(7, 1), s.watched(7, 2), s.refused(7, 3), s.watched(8, 4)]
    await bench.tell(*events)
    await bench.refresh()

    before = await described(bench, 7, 8, 9)
    await bench.tell(*events)

    assert set(before) == {7, 8}
    assert (before[7].values["interactions"], before[7].values["likes"]) == (3, 1)
    assert (before[7].values["not_interested"], len(before[7].embedding)) == (1, 64)
    assert await described(bench, 7, 8, 9) == before


async def test_a_deleted_account_leaves_no_history(bench: RankBench) -> None:
    s = bench.story
    await bench.tell(s.published(1, tags=["cats"]), s.watched(7, 1), s.watched(8, 1), s.gone(7))
    await bench.refresh()

    found = await described(bench, 7, 8)

    assert found[8].values["interactions"] == 1
    assert 7 not in found or not found[7].values["interactions"]


async def test_a_rebuild_makes_the_histories_again_from_the_log(bench: RankBench) -> None:
    s = bench.story
    await bench.tell(*(s.published(i, tags=["cats"]) for i in range(1, 6)))
    await bench.tell(s.watched(7, 1), s.liked(7, 1), s.skipped(7, 2), s.refused(7, 3), s.liked(7, 1, back=True))
    before = await described(bench, 7)
    leased = await lease(bench.platform.settings.wide_url)
    await leased.rows.define("TRUNCATE viewer_history")
    await leased.close()
    assert await described(bench, 7) != before
    descriptor = media_pb.DESCRIPTOR.services_by_name["VideoService"]
    servicer = Servicer(descriptor, PublishedVideos(), media_grpc.add_VideoServiceServicer_to_server)

    async with bench.platform.serve(Service("media", [servicer])):
        for _ in range(2):
            assert await bench.service.rebuilds["features"]() == len(bench.seen)
            assert await described(bench, 7) == before
