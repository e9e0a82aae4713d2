"""Other logs: who is held out, how age is measured, and when the linear part's weight is left."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is in the extra `train`")
pytest.importorskip("scipy", reason="scipy is in the extra `train`")

from rank_svc.train import baselines, linear
from rank_svc.train.batches import material
from rank_svc.train.dataset import load
from rank_svc.train.fit import planned_steps
from rank_svc.train.held import hold_out
from rank_svc.train.histories import DAY_MS, build
from rank_svc.train.options import LONGEST, TowerOptions
from rank_svc.train.weigh import surest
from tests.rank.train.conftest import Write, world


def test_the_first_choice_is_left_for_more_than_noise_alone() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 400)
    first = np.full(400, 0.3)
    assert surest(np.array([first, first + noise - noise.mean() + 0.005])) == 0
    assert surest(np.array([first, first + noise - noise.mean() + 0.02])) == 1


@pytest.mark.parametrize("timed", [True, False])
def test_users_who_were_all_there_at_other_times_lose_their_own_last_rows(write: Write, timed: bool) -> None:
    users, items = np.repeat(np.arange(50), 20), np.tile(np.arange(20), 50)
    rows = {"user_id": users.tolist(), "item_id": items.tolist()}
    if timed:
        rows["timestamp_ms"] = (users * DAY_MS + items).tolist()
    data = load(write(interactions=rows))
    held = hold_out(build(data.interactions), data.catalogue, TowerOptions(), 0)
    assert held.usable and len(held.right) == 10
    assert [len(right) for right in held.right] == [2] * 10
    assert held.histories.lengths.sum() == 1000 - 20


def test_in_a_log_of_years_the_first_users_still_count(write: Write) -> None:
    users = np.repeat(np.arange(100), 4)
    rows = {"user_id": users, "item_id": np.tile(np.arange(4), 100), "timestamp_ms": users * 20 * DAY_MS}
    data = load(write(interactions={name: values.tolist() for name, values in rows.items()}))
    source = material(build(data.interactions), data.catalogue, TowerOptions())
    assert source.weights.min() > 0.3


def test_rows_beyond_the_served_ones_are_there_for_the_linear_part(write: Write) -> None:
    rows = {"user_id": [1] * 150, "item_id": list(range(150)), "timestamp_ms": list(range(150))}
    data = load(write(interactions=rows))
    histories = build(data.interactions)
    assert len(material(histories, data.catalogue, TowerOptions()).rows) == LONGEST
    assert len(material(histories, data.catalogue, TowerOptions(), longest=None).rows) == 150


def test_small_logs_get_more_rounds_and_large_ones_none() -> None:
    options = TowerOptions(epochs=3, least_steps=1200, most_epochs=30)
    assert [planned_steps(each, options) for each in (1, 50, 400, 1000)] == [30, 1200, 1200, 3000]


def test_of_too_many_items_the_popular_ones_keep_their_linear_part(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(linear, "MOST_ITEMS", 30)
    monkeypatch.setattr(baselines, "EASE_MOST_ITEMS", 30)
    data = load(write(**world()))
    histories = build(data.interactions)
    found = linear.fit_linear(material(histories, data.catalogue, TowerOptions()), TowerOptions(linear=8))
    assert (np.abs(found.right).sum(1) > 0).sum() == 30
    scores = dict(baselines.baselines(histories, data.catalogue))["EASE"](np.arange(3))
    assert ((scores > -1e9).sum(1) == 30).all()
    assert capsys.readouterr().err.count("30 most popular") == 2
