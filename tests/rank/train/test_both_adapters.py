"""A trained version, promoted by the command's own code, serves through both adapters alike: in this process and on a
real Triton."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is in the extra `train`")
pytest.importorskip("onnx", reason="onnx is in the extra `train`")
pytest.importorskip("lightgbm", reason="lightgbm is in the extra `train`")

from rank_svc.train.dataset import load
from rank_svc.train.pipeline import train
from rank_svc.versions.library import VersionLibrary
from reelgraph.rank.v1 import ranking_pb2
from reelgraph.rank.v1.features_pb2 import ViewerContext
from svc_kit.rpc.client import AS_SERVICE
from tests.rank.train.conftest import Write, impressions, world
from tests.rank.train.test_training import SMALL
from tests.support.engines import servers
from tests.support.rank import RankBench, rank_bench
from tests.support.triton import triton_url, unload_all

VIDEOS = range(1, 40)
VIEWER = 7


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_loaded() -> Iterator[None]:
    yield
    asyncio.run(unload_all())


async def answers(bench: RankBench) -> tuple[list[tuple[int, float]], dict[int, list[float]], str]:
    """What a viewer of odd videos is offered by taste, all that is predicted, and by which version."""
    story = bench.story
    tags = {i: ["even" if i % 2 == 0 else "odd"] for i in VIDEOS}
    await bench.tell(*(story.published(i, 1000 + i % 2, tags[i], duration_ms=10_000 + i * 1000) for i in VIDEOS))
    await bench.tell(*(story.watched(VIEWER, i) for i in (1, 3, 5, 7)), *(story.skipped(VIEWER, i) for i in (2, 4)))
    await bench.refresh()
    viewer = ViewerContext(viewer_id=VIEWER)
    offered = await bench.retrieve(viewer, quotas=[{"source": "CANDIDATE_SOURCE_TASTE", "limit": 20}])
    request = ranking_pb2.RankCandidatesRequest(viewer=viewer, video_ids=VIDEOS, model_version=offered.model_version)
    ranked = await bench.platform.peer.call(bench.ranking.RankCandidates, request, AS_SERVICE)
    assert ranked.model_version == offered.model_version
    found = [(c.video_id, c.score) for c in offered.candidates]
    predicted = {c.video_id: [getattr(c, name) for name in FIELDS] for c in ranked.candidates}
    return found, predicted, ranked.model_version


FIELDS = ("score", "like", "share", "completion", "comment", "negative", "affinity")


@pytest.mark.parametrize("server", servers("triton"))
async def test_a_trained_version_answers_the_same_in_process_and_on_triton(
    server: str, write: Write, tmp_path: Path, base_model: Path
) -> None:
    data = load(write(**world(), impressions=impressions()))
    manifest = await asyncio.to_thread(lambda: train(data, tmp_path / "model", replace(SMALL, steps=40), seed=1))
    here, there = tmp_path / "here", tmp_path / "there"
    asked: dict[str, Any] = {}
    for name, folder, url in (
        ("here", here, (here / "models").as_uri()),
        ("triton", there, triton_url(there / "models", timeout_ms=30_000)),
    ):
        async with rank_bench(folder, base_model, models_url=url) as bench:
            versions = VersionLibrary(folder / "models", base_model)
            versions.point(versions.put(tmp_path / "model").version)
            await bench.refresh("rank.model")
            asked[name] = await answers(bench)
            await bench.service.checks["rank model"]()

    offered, predicted, version = asked["here"]
    assert version == manifest.version == asked["triton"][2]
    assert {video for video, _ in offered[:10]} <= set(range(1, 40, 2)), "what is like what they finished comes first"
    assert [video for video, _ in asked["triton"][0]] == [video for video, _ in offered]
    for video, values in predicted.items():
        assert asked["triton"][1][video] == pytest.approx(values, rel=1e-4, abs=1e-4)
