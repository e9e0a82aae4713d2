"""Options of a training: which are taken, and how one that is wrong is named."""

from __future__ import annotations

import pytest

from rank_svc.train.checked_options import check_options, read_options
from rank_svc.train.options import TowerOptions


def test_the_options_as_they_are_and_what_is_assigned_are_taken() -> None:
    check_options(TowerOptions())
    found = read_options(TowerOptions(), ["rate=0.01", "width=32", "linear=0", "members=0", "steps=0"])
    assert (found.rate, found.width, found.linear, found.members) == (0.01, 32, 0, 0)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("width=3", "--option width=3: must be a multiple of heads, 2"),
        ("width=0", "--option width=0: must be at least 1"),
        ("heads=0", "--option heads=0: must be at least 1"),
        ("layers=-1", "--option layers=-1: must be at least 0"),
        ("rate=x", "--option rate=x: could not convert"),
        ("rate", "--option rate: could not convert"),
        ("rate=nan", "--option rate=nan: must be finite"),
        ("rate=0", "--option rate=0.0: must be above 0"),
        ("dropout=1", "--option dropout=1.0: must be from 0 to less than 1"),
        ("share=2", "--option share=2.0: must be above 0 and at most 1"),
        ("width=1.5", "--option width=1.5: invalid literal"),
        ("depth=3", "--option depth=3: there is no option depth"),
    ],
)
def test_a_wrong_option_is_named(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message):
        read_options(TowerOptions(), [assignment])
