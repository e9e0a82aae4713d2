"""Weights of the value formula for one call."""

from __future__ import annotations

import math

import pytest

from rank_svc.ranking.value import NAMES, weighted
from rank_svc.settings import RankSettings
from svc_kit.errors import AppError, Reason


def test_a_call_may_bring_weights_of_its_own_and_the_others_stay() -> None:
    settings = RankSettings(weight_like=7)
    assert weighted(settings, {}) is settings
    found = weighted(settings, {"negative": 3.0})
    assert (found.weight_negative, found.weight_like, settings.weight_negative) == (3.0, 7, -3.0)


def test_every_weight_of_the_settings_has_a_name() -> None:
    assert {f"weight_{name}" for name in NAMES} == {n for n in RankSettings.model_fields if n.startswith("weight_")}


@pytest.mark.parametrize("weights", [{"love": 1.0}, {"like": math.nan}, {"like": math.inf}])
def test_an_unknown_name_and_a_weight_that_is_no_number_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(AppError) as caught:
        weighted(RankSettings(), weights)
    assert caught.value.reason is Reason.BAD_USER_INPUT
