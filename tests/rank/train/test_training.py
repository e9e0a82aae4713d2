"""Training, exporting and measuring on a tiny world: what is learned, written and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is in the extra `train`")
pytest.importorskip("onnx", reason="onnx is in the extra `train`")
pytest.importorskip("lightgbm", reason="lightgbm is in the extra `train`")

from rank_svc.scorers.layout import read_manifest
from rank_svc.scorers.store import ModelRefused
from rank_svc.scorers.stores import onnxruntime as served_by
from rank_svc.train.ablation import ablated
from rank_svc.train.dataset import Dataset, load
from rank_svc.train.evaluate import Towers, evaluate, version_scorer
from rank_svc.train.export import UserTower
from rank_svc.train.fit import fit
from rank_svc.train.fixed_ranker import FixedRanker
from rank_svc.train.histories import build
from rank_svc.train.options import TowerOptions
from rank_svc.train.pipeline import train
from rank_svc.train.served import content
from tests.rank.train.conftest import Write, impressions, world

SMALL = TowerOptions(
    width=16,
    bag=8,
    around=8,
    linear=4,
    feed_forward=16,
    steps=80,
    tokens=256,
    negatives=30,
    rate=0.02,
    warm=5,
    looks=4,
    held_users=0.2,
    dropout=0.0,
)
GREATEST = 2**63 - 1


def _truth(tables: dict[str, dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    have = set(zip(tables["interactions"]["user_id"], tables["interactions"]["item_id"], strict=True))
    pairs = np.array([(u, i) for u in range(60) for i in range(40) if (u + i) % 2 == 0 and (u, i) not in have])
    return pairs[:, 0], pairs[:, 1]


@pytest.fixture
def data(write: Write) -> Dataset:
    return load(write(**world()))


def test_a_version_learns_taste_and_is_whole(data: Dataset, tmp_path: Path) -> None:
    manifest = train(data, tmp_path / "model", SMALL, seed=1)
    found = evaluate(tmp_path / "model", data, _truth(world()), [5])
    assert found["ndcg@5"] > 0.7
    assert read_manifest(tmp_path / "model") == manifest
    assert manifest.kind == "trained"
    wanted = {"metrics.json", "vocabulary.json", "item_vectors.npz", "items.usearch", "MODEL_CARD.md"}
    assert wanted <= set(manifest.files)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_new_items_are_found_by_their_content(data: Dataset, tmp_path: Path) -> None:
    train(data, tmp_path / "model", SMALL, seed=1)
    found = evaluate(tmp_path / "model", data, _truth(world()), [5], ablate={})
    assert found["ablations"]["without ids"]["ndcg@5"] > 0.7
    assert found["ablations"]["new items"]["ndcg@5"] > 0.7


def test_the_same_seed_and_steps_give_the_same_model(data: Dataset, tmp_path: Path) -> None:
    versions = [train(data, tmp_path / name, SMALL, seed=seed).version for name, seed in (("a", 3), ("b", 3), ("c", 4))]
    assert versions[0] == versions[1] != versions[2]


def test_a_broken_off_run_goes_on_to_the_same_model(data: Dataset, tmp_path: Path) -> None:
    histories, place = build(data.interactions), tmp_path / "checkpoint"
    whole = fit(histories, data.catalogue, SMALL, seed=1)

    class Broken(Exception):
        pass

    def break_off(step: int, steps: int, text: str) -> None:
        if step == 40:
            raise Broken

    with pytest.raises(Broken):
        fit(histories, data.catalogue, SMALL, seed=1, checkpoint=place, progress=break_off)
    assert list(tmp_path.glob("checkpoint.*"))
    resumed = fit(histories, data.catalogue, SMALL, seed=1, checkpoint=place)
    assert not list(tmp_path.glob("checkpoint.*"))
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert a.equal(b)


def test_a_damaged_checkpoint_is_ignored(data: Dataset, tmp_path: Path) -> None:
    place = tmp_path / "checkpoint"
    (tmp_path / "checkpoint.0").write_bytes(b"half of a file")
    fitted = fit(build(data.interactions), data.catalogue, replace(SMALL, steps=3), checkpoint=place)
    assert fitted.steps == 6, "three of each network"


def test_minutes_shorten_the_plan(data: Dataset) -> None:
    fitted = fit(build(data.interactions), data.catalogue, replace(SMALL, steps=10**6), minutes=0.02)
    assert 0 < fitted.steps < 10**6


def test_the_serving_side_takes_the_version_and_ranks(write: Write, tmp_path: Path) -> None:
    data = load(write(**world(), impressions=impressions()))
    manifest = train(data, tmp_path / "model", SMALL, seed=1)
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())["ranker"]
    assert metrics["kind"] in ("gbdt", "neural")
    assert metrics[metrics["kind"]]["auc long_view"] > 0.8

    async def load_it() -> str:
        models = await served_by.open((tmp_path / "model").as_uri(), anyio.CapacityLimiter(1))
        scorer = await models.load(await models.wanted())
        return scorer.info.version

    assert anyio.run(load_it) == manifest.version


def test_data_without_order_time_or_labels_trains(write: Write, tmp_path: Path) -> None:
    rows = world()["interactions"]
    positive = [i for i, long in enumerate(rows["long_view"]) if long]
    columns = {name: [rows[name][i] for i in positive] for name in ("user_id", "item_id")}
    data = load(write(interactions=columns))
    train(data, tmp_path / "model", SMALL)
    found = evaluate(tmp_path / "model", data, _truth(world()), [5])
    assert found["ndcg@5"] > 0.6


@pytest.mark.parametrize("ids", [0, 7, GREATEST])
def test_one_user_and_one_item_train_and_serve(write: Write, tmp_path: Path, ids: int) -> None:
    data = load(write(interactions={"user_id": [ids], "item_id": [ids], "timestamp_ms": [1]}))
    train(data, tmp_path / "model", replace(SMALL, steps=3))
    histories = build(data.interactions)
    scores = version_scorer(tmp_path / "model", data, histories)(np.array([0]))
    assert scores.shape == (1, 1) and np.isfinite(scores).all()


def test_a_user_without_a_history_gets_the_prior(data: Dataset, tmp_path: Path) -> None:
    train(data, tmp_path / "model", SMALL)
    towers, ids = Towers(tmp_path / "model"), data.catalogue
    known = content(ids, data.items)
    vectors = towers.items(ids, known)
    nobody = build(data.interactions).where(np.zeros(len(data.interactions), np.bool_))
    found = towers.users(nobody, np.array([0, 1]), 0, ids, known, vectors)
    assert np.isfinite(found).all() and (found[0] == found[1]).all()


def test_a_version_whose_file_was_changed_is_refused(data: Dataset, tmp_path: Path) -> None:
    train(data, tmp_path / "model", replace(SMALL, steps=3))
    (tmp_path / "model" / "vocabulary.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelRefused, match=r"vocabulary\.json: differs"):
        evaluate(tmp_path / "model", data, _truth(world()), [5])


def test_a_failed_write_leaves_the_former_version(data: Dataset, tmp_path: Path, monkeypatch: Any) -> None:
    former = train(data, tmp_path / "model", replace(SMALL, steps=3), seed=1)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("rank_svc.train.version.write_manifest", fail)
    with pytest.raises(OSError, match="disk full"):
        train(data, tmp_path / "model", replace(SMALL, steps=3), seed=2)
    assert read_manifest(tmp_path / "model").version == former.version
    assert [path.name for path in tmp_path.iterdir() if ".new" in path.name] == []


@pytest.mark.parametrize("options", [SMALL, replace(SMALL, members=0), replace(SMALL, around_members=0)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_training_that_diverged_leaves_the_former_version(
    data: Dataset, tmp_path: Path, options: TowerOptions
) -> None:
    former = train(data, tmp_path / "model", replace(SMALL, steps=3), seed=1)
    with pytest.raises(ValueError, match=r"diverged|not kept: .*model/"):
        train(data, tmp_path / "model", replace(options, rate=1e9), seed=1)
    assert read_manifest(tmp_path / "model") == former


def test_a_model_that_does_not_answer_leaves_the_former_version(
    data: Dataset, tmp_path: Path, monkeypatch: Any
) -> None:
    former = train(data, tmp_path / "model", replace(SMALL, steps=3), seed=1)
    monkeypatch.setattr(FixedRanker, "features", ("duration_log",))
    with pytest.raises(ValueError, match=f"not kept: {tmp_path}/model/"):
        train(data, tmp_path / "model", replace(SMALL, steps=3), seed=2)
    assert read_manifest(tmp_path / "model") == former


def test_a_weight_that_is_no_number_is_refused(data: Dataset, tmp_path: Path, monkeypatch: Any) -> None:
    begin = UserTower.__init__

    def spoiled(self: Any, *given: Any) -> None:
        begin(self, *given)
        self.words.data[-1] = np.nan

    monkeypatch.setattr(UserTower, "__init__", spoiled)
    with pytest.raises(ValueError, match=r"user_tower/1/model\.onnx: its weight .* is not finite"):
        train(data, tmp_path / "model", replace(SMALL, steps=3))
    assert not (tmp_path / "model").exists()


def test_versions_that_differ_in_their_ranker_alone_have_two_names(write: Write, tmp_path: Path) -> None:
    data = load(write(**world(), impressions=impressions()))
    options = replace(SMALL, steps=3)
    versions = [
        train(data, tmp_path / n, options, ranking=ranking).version for n, ranking in (("a", True), ("b", False))
    ]
    again = train(data, tmp_path / "c", options).version
    assert versions[0] == again != versions[1]


def test_ablations_take_as_many_steps_as_the_model_had(data: Dataset, tmp_path: Path) -> None:
    train(data, tmp_path / "model", replace(SMALL, steps=6), seed=1)
    path = tmp_path / "model" / "metrics.json"
    told = json.loads(path.read_text())
    # As a training that `--minutes` ended: planned for more than it took.
    told["retrieval"]["options"]["steps"] = 0
    path.write_text(json.dumps(told))
    with ablated(tmp_path / "model", data) as versions:
        took = [json.loads((folder / "metrics.json").read_text())["retrieval"]["steps"] for folder in versions.values()]
    assert took == [told["retrieval"]["steps"]] * 2


def test_impressions_of_unknown_items_alone_ship_the_fixed_ranker(write: Write, tmp_path: Path) -> None:
    shown = impressions()
    shown["item_id"] = [item + 1000 for item in shown["item_id"]]
    train(load(write(**world(), impressions=shown)), tmp_path / "model", replace(SMALL, steps=3))
    assert json.loads((tmp_path / "model" / "metrics.json").read_text())["ranker"]["kind"] == "fixed"
