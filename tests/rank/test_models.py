"""Which version serves: switched whole, told once, and never broken by a broken one."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rank_svc.scorers import wiring
from rank_svc.scorers.store import ModelRefused
from reelgraph.rank.v1 import ranking_pb2
from reelgraph.rank.v1.features_pb2 import ViewerContext
from svc_kit.rpc.client import AS_SERVICE
from tests.support.platform import emitted
from tests.support.rank import RankBench, rank_bench


def add_version(folder: Path, base: Path, name: str, **changes: Any) -> None:
    """A copy of the base version under another name, and the pointer on it."""
    target = folder / "models" / name
    shutil.copytree(base, target)
    path = target / "version.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": name} | changes))
    (folder / "models" / "serving").write_text(name)


async def version(bench: RankBench) -> str:
    return str((await bench.retrieve(ViewerContext())).model_version)


async def promotions(bench: RankBench) -> list[tuple[str, str, int]]:
    events = await emitted(bench.platform, "rank")
    return [(e.model_promoted.version, e.model_promoted.previous, e.entity_version) for e in events]


async def test_a_version_that_the_pointer_names_takes_over_with_all_vectors_and_is_told_once(
    bench: RankBench, tmp_path: Path, base_model: Path
) -> None:
    await bench.tell(*(bench.story.published(i, tags=["cats"]) for i in range(1, 6)), bench.story.watched(7, 1))
    await bench.refresh()
    add_version(tmp_path, base_model, "next")
    before = await version(bench)

    await bench.refresh("rank.model")
    await bench.refresh("rank.model")
    response = await bench.retrieve(ViewerContext(viewer_id=7))

    assert (before, response.model_version) == ("base-1", "next")
    assert {c.video_id for c in response.candidates} == {1, 2, 3, 4, 5}
    assert await promotions(bench) == [("base-1", "", 1), ("next", "base-1", 2)]


@pytest.mark.parametrize("breakage", ["dimensions", "missing", "pointer"])
async def test_a_broken_version_leaves_the_old_one_serving_and_says_why(
    bench: RankBench, tmp_path: Path, base_model: Path, breakage: str
) -> None:
    await bench.refresh()
    add_version(tmp_path, base_model, "bad", **({"dimensions": 32} if breakage == "dimensions" else {}))
    if breakage == "missing":
        (tmp_path / "models/bad/ranker/1/model.onnx").unlink()
    if breakage == "pointer":
        (tmp_path / "models/serving").write_text("nothing-of-this-name")

    await bench.refresh("rank.model")

    assert await version(bench) == "base-1"
    with pytest.raises(ValueError, match="base-1 serves instead"):
        await bench.service.checks["rank model"]()
    (tmp_path / "models/serving").write_text("base-1")
    await bench.refresh("rank.model")
    await bench.service.checks["rank model"]()
    assert await promotions(bench) == [("base-1", "", 1)]


async def test_switching_fails_no_request_and_mixes_no_versions(
    bench: RankBench, tmp_path: Path, base_model: Path
) -> None:
    await bench.tell(*(bench.story.published(i, tags=["cats"]) for i in range(1, 51)))
    await bench.refresh()
    add_version(tmp_path, base_model, "next")
    request = ranking_pb2.RankCandidatesRequest(viewer=ViewerContext(viewer_id=7), video_ids=range(1, 51))
    versions: list[str] = []

    async def ask() -> None:
        while not versions or versions[-1] != "next":
            response = await bench.platform.peer.call(bench.ranking.RankCandidates, request, AS_SERVICE)
            versions.append(response.model_version)

    await asyncio.gather(ask(), bench.refresh("rank.model"))
    bench.clock.advance(120)
    await bench.refresh("rank.model")

    assert set(versions) == {"base-1", "next"} or versions == ["next"]
    assert await version(bench) == "next"


async def test_at_the_start_a_broken_version_is_replaced_by_the_packaged_one(
    tmp_path: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "PACKAGED", base_model)
    add_version(tmp_path, base_model, "bad")
    (tmp_path / "models/bad/version.json").write_text("{")
    async with rank_bench(tmp_path, base_model) as bench:
        (tmp_path / "models/serving").write_text("bad")
        assert await version(bench) == "base-1"


async def test_without_any_model_the_service_does_not_start_and_says_what_to_do(
    tmp_path: Path, base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "PACKAGED", tmp_path / "nowhere")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "base-1").mkdir()

    with pytest.raises(ModelRefused, match="nowhere"):
        async with rank_bench(tmp_path, base_model):
            pass


async def test_the_recall_probe_measures_the_index(bench: RankBench) -> None:
    await bench.tell(*(bench.story.published(i, tags=[f"t{i % 7}"]) for i in range(1, 120)))
    await bench.refresh()

    await bench.refresh("rank.recall")

    from prometheus_client import REGISTRY

    assert REGISTRY.get_sample_value("reelgraph_rank_index_recall") == 1.0
    assert REGISTRY.get_sample_value("reelgraph_rank_index_size", {"of": "videos"}) == 119
    await bench.service.checks["rank index"]()
