"""Which version serves: switched whole, told once, and never broken by a broken one."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from rank_svc.scorers import wiring
from rank_svc.scorers.store import ModelRefused
from rank_svc.settings import RankSettings
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

    assert REGISTRY.get_sample_value("reelgraph_rank_index_recall") == 1.0
    assert REGISTRY.get_sample_value("reelgraph_rank_index_size", {"of": "videos"}) == 119
    await bench.service.checks["rank index"]()


async def test_a_call_goes_on_with_the_version_that_it_began_with_for_a_minute(
    bench: RankBench, tmp_path: Path, base_model: Path
) -> None:
    await bench.tell(bench.story.published(1, tags=["cats"]))
    await bench.refresh()
    add_version(tmp_path, base_model, "next")
    await bench.refresh("rank.model")

    async def ranked_by(version: str) -> str:
        request = ranking_pb2.RankCandidatesRequest(viewer=ViewerContext(), video_ids=[1], model_version=version)
        return str((await bench.platform.peer.call(bench.ranking.RankCandidates, request, AS_SERVICE)).model_version)

    within = [await ranked_by(name) for name in ("base-1", "next", "", "never-heard-of")]
    bench.clock.advance(120)
    await bench.refresh("rank.model")

    assert within == ["base-1", "next", "next", "next"]
    assert await ranked_by("base-1") == "next"


async def test_beside_other_replicas_a_version_is_held_before_it_serves(tmp_path: Path, base_model: Path) -> None:
    settings = RankSettings(model_settle_s=15)
    async with rank_bench(tmp_path, base_model, settings, several=True) as bench:
        await bench.tell(bench.story.published(1, tags=["cats"]))
        await bench.refresh()
        add_version(tmp_path, base_model, "next")
        await bench.refresh("rank.model")
        request = ranking_pb2.RankCandidatesRequest(viewer=ViewerContext(), video_ids=[1, 2], model_version="next")
        early = await bench.platform.peer.call(bench.ranking.RankCandidates, request, AS_SERVICE)
        before = await version(bench)
        await bench.tell(bench.story.published(2, tags=["cats"]), bench.story.watched(7, 1))
        await bench.refresh("rank.videos", "rank.viewers")
        bench.clock.advance(15)
        await bench.refresh("rank.model")
        response = await bench.retrieve(ViewerContext(viewer_id=7))

        assert (early.model_version, before, response.model_version) == ("next", "base-1", "next")
        assert {c.video_id for c in response.candidates} == {1, 2}


async def test_a_version_that_is_taken_back_before_it_serves_never_does(tmp_path: Path, base_model: Path) -> None:
    async with rank_bench(tmp_path, base_model, RankSettings(model_settle_s=15), several=True) as bench:
        add_version(tmp_path, base_model, "next")
        await bench.refresh("rank.model")
        (tmp_path / "models" / "serving").write_text("base-1")
        await bench.refresh("rank.model")
        bench.clock.advance(30)
        await bench.refresh("rank.model")

        assert await version(bench) == "base-1"
        assert await promotions(bench) == [("base-1", "", 1)]


async def test_a_refused_version_is_tried_again_when_it_may_have_been_mended(
    bench: RankBench, tmp_path: Path, base_model: Path
) -> None:
    await bench.refresh()
    add_version(tmp_path, base_model, "bad", dimensions=32)
    await bench.refresh("rank.model")
    shutil.rmtree(tmp_path / "models" / "bad")
    add_version(tmp_path, base_model, "bad")
    await bench.refresh("rank.model")
    soon = await version(bench)
    bench.clock.advance(61)
    await bench.refresh("rank.model")

    assert (soon, await version(bench)) == ("base-1", "bad")
    await bench.service.checks["rank model"]()


async def test_ages_of_model_and_vectors_are_metrics(bench: RankBench, tmp_path: Path, base_model: Path) -> None:
    await bench.refresh()
    seen = {of: _sum("reelgraph_rank_embedding_age_seconds", of) for of in ("videos", "viewers")}
    await bench.tell(bench.story.published(1, tags=["cats"]))
    bench.clock.advance(2)
    await bench.refresh("rank.videos")
    await bench.tell(bench.story.watched(7, 1, ago_s=3))
    await bench.refresh("rank.viewers", "rank.model")

    waited = {of: _sum("reelgraph_rank_embedding_age_seconds", of) - before for of, before in seen.items()}
    assert waited == {"videos": pytest.approx(2), "viewers": pytest.approx(3)}
    year_s = 365 * 86_400
    assert REGISTRY.get_sample_value("reelgraph_rank_model_age_seconds") == pytest.approx(year_s, rel=0.01)
    assert REGISTRY.get_sample_value("reelgraph_rank_model_refused") == 0
    assert REGISTRY.get_sample_value("reelgraph_rank_model_serving", {"version": "base-1"}) == 1


def _sum(name: str, of: str) -> float:
    return REGISTRY.get_sample_value(f"{name}_sum", {"of": of}) or 0.0
