"""From a log to what serves: what is held out is what the new version and the old one are compared on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is in the extra `train`")
pytest.importorskip("onnx", reason="onnx is in the extra `train`")
pytest.importorskip("lightgbm", reason="lightgbm is in the extra `train`")

from rank_svc.train.dataset import load
from rank_svc.train.pipeline import train
from rank_svc.versions.commands import learned_until
from rank_svc.versions.newest import cut, older
from rank_svc.versions.store import Outcome
from tests.rank.test_promotion import ODD_LOGS, Shop, shop
from tests.rank.train.conftest import DAY_MS, impressions, world
from tests.rank.train.test_training import SMALL
from tests.support.versions import write_dataset

__all__ = ["shop"]


async def test_a_version_is_compared_on_the_rows_that_were_left_out(shop: Shop, tmp_path: Path) -> None:
    train(older(shop.data, 0.2), tmp_path / "model", SMALL, seed=1)
    decision = await shop.promote(tmp_path / "model")

    assert decision.outcome in (Outcome.PROMOTED, Outcome.WORSE)
    assert decision.report["metrics"]["ndcg@50"]["users"] >= 20
    assert 0 < learned_until(tmp_path / "model") <= DAY_MS * 11


async def test_a_version_that_learned_from_all_rows_waits_for_newer_ones(shop: Shop, tmp_path: Path) -> None:
    train(shop.data, tmp_path / "model", SMALL, seed=1)
    decision = await shop.promote(tmp_path / "model")

    assert decision.outcome is Outcome.TOO_LITTLE
    assert shop.versions.library.serving() == "base-1"


def test_what_is_left_out_is_newer_than_all_that_is_learned_from(tmp_path: Path) -> None:
    data = load(write_dataset(tmp_path / "log", **world(), impressions=impressions()))
    left = older(data, 0.3)
    found = cut(data, share=0.3)

    assert not isinstance(found, str)
    newest = left.interactions.wholes["timestamp_ms"].max()
    assert newest <= found.moment_ms < data.interactions.wholes["timestamp_ms"].max()
    assert 0.6 < len(left.interactions) / len(data.interactions) < 0.8
    assert left.impressions is None and "30%" in left.notes[-1]
    assert np.isin(found.asked.users, np.arange(60)).all() and (found.before.times_ms <= found.moment_ms).all()


def test_without_an_order_nothing_is_left_out(tmp_path: Path) -> None:
    data = load(write_dataset(tmp_path / "log", **ODD_LOGS["no order"]))
    assert older(data, 0.5) is data


@pytest.mark.parametrize("log", ODD_LOGS)
async def test_an_odd_log_makes_a_version_that_is_whole_and_is_not_promoted_on_it(
    shop: Shop, tmp_path: Path, log: str
) -> None:
    data = load(write_dataset(tmp_path / "odd", **ODD_LOGS[log]))
    train(older(data), tmp_path / "model", replace(SMALL, steps=3))
    manifest = await shop.versions.commands.check(tmp_path / "model")
    decision = await shop.promote(tmp_path / "model", data)

    assert (decision.outcome, decision.version) == (Outcome.TOO_LITTLE, manifest.version)
