"""Options as they are given on a command line, and whether a training can be made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from rank_svc.train.options import TowerOptions, with_assignments

FROM_ONE = ("width", "bag", "around", "heads", "feed_forward", "tokens", "negatives", "looks")
ABOVE_ZERO = ("epochs", "rate", "linear_days", "target_days", "warm")
FROM_ZERO = (
    "linear",
    "linear_weight",
    "members",
    "around_members",
    "layers",
    "steps",
    "power",
    "user_power",
    "patience",
)
SHARES = {"dropout": 1.0, "average": 1.0, "held_users": 1.0}
"""From 0 to less than this."""


def read_options(options: TowerOptions, assignments: Sequence[str]) -> TowerOptions:
    """`options` with `NAME=VALUE` for each of `assignments`, checked. Raises ValueError naming a wrong one."""
    for assignment in assignments:
        try:
            options = with_assignments(options, [assignment])
        except ValueError as error:
            said = str(error)
            raise ValueError(said if said.startswith("--option") else f"--option {assignment}: {said}") from None
    check_options(options)
    return options


def check_options(options: TowerOptions) -> None:
    """Raise ValueError naming an option that no training can be made of."""
    values = asdict(options)
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"--option {name}={value}: must be finite")
    for names, least, told in ((FROM_ONE, 1, "at least 1"), (FROM_ZERO, 0, "at least 0")):
        for name in names:
            if values[name] < least:
                raise ValueError(f"--option {name}={values[name]}: must be {told}")
    for name in ABOVE_ZERO:
        if values[name] <= 0:
            raise ValueError(f"--option {name}={values[name]}: must be above 0")
    for name, end in SHARES.items():
        if not 0 <= values[name] < end:
            raise ValueError(f"--option {name}={values[name]}: must be from 0 to less than {end:g}")
    if not 0 < options.share <= 1:
        raise ValueError(f"--option share={options.share}: must be above 0 and at most 1")
    if options.width % options.heads:
        raise ValueError(f"--option width={options.width}: must be a multiple of heads, {options.heads}")
