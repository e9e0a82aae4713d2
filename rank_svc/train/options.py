"""What a training run is made of. `docs/ranking.md` tells what each choice was worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class TowerOptions:
    """Hyperparameters of the two towers; written into the version's metrics.json."""

    width: int = 64
    """Dimensions of the sequence part; its item vectors are the sequence's input too."""
    bag: int = 128
    """Dimensions of the untied bag part."""
    linear: int = 256
    """Dimensions of the linear part; 0: none."""
    linear_weight: float = 0.1
    """How much the linear part's scores differ between items, in units of the networks'. Where held-out users say so
    beyond noise, another of LINEAR_WEIGHTS."""
    choose: int = 1
    """0: the linear part stays as the options say, whatever held-out users say."""
    linear_days: float = 6.0
    """`target_days` of the linear part."""
    members: int = 1
    """Networks of sequence and bag, of seeds of their own, side by side; with `around_members` at least one."""
    around: int = 192
    """Dimensions of a network that learns from what came before and after a target."""
    around_members: int = 1
    """Networks of that kind."""
    layers: int = 2
    heads: int = 2
    feed_forward: int = 128
    dropout: float = 0.2
    epochs: float = 3
    """Rounds over all users, where `steps` is 0."""
    steps: int = 0
    least_steps: int = 1200
    """Small logs get more rounds, up to `most_epochs`, until they have as many steps."""
    most_epochs: float = 30
    tokens: int = 1500
    """Interactions in a batch."""
    negatives: int = 1024
    """Expected number of shared negatives a batch."""
    power: float = 0.75
    """Negatives are drawn by popularity to this power."""
    logq: bool = True
    history: bool = True
    """Without, everybody gets the same vector (ablation)."""
    rate: float = 3e-3
    warm: int = 50
    average: float = 0.99
    """Decay of the moving average of weights, which is what ships."""
    target_days: float = 10.0
    """A target this old weighs 1/e."""
    user_power: float = 0.5
    """A user's targets are divided by their sum to this power: 0 weighs users by activity, 1 all alike."""
    share: float = 1.0
    """Share of targets in an epoch: drawn by weight, the light ones are mostly left out."""
    held_users: float = 0.03
    """Share of users whose newest rows are held out for early stopping and for weighing the parts; in small logs up
    to a fifth of users, until they are LEAST_HELD. 0: none."""
    patience: int = 2
    """Looks in a row that are worse than the best by more than its standard error before it stops."""
    looks: int = 8
    """How often the held-out rows are looked at."""


def with_assignments(options: TowerOptions, assignments: Sequence[str]) -> TowerOptions:
    """`options` with `NAME=VALUE` for each of `assignments`. Raises ValueError naming a wrong one."""
    kinds = {f.name: type(getattr(options, f.name)) for f in fields(options)}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        if name not in kinds or kinds[name] is bool:
            raise ValueError(f"--option {assignment}: there is no option {name}; see rank_svc/train/options.py")
        options = replace(options, **{name: kinds[name](value)})
    return options


LINEAR_WEIGHTS = (0.1, 0.3, 1.0, 3.0, 10.0)
LINEAR_FITS = ((20.0, 6.0), (20.0, 1e6), (100.0, 1e6))
"""(ridge, days) of the linear parts to choose from where the log is small or long; the first has the options' days."""
LEAST_HELD = 500
LONGEST = 100
"""Interactions of a user that are used: what the served arrays hold."""
AGES = 32
AGE_STEP_DAYS = 0.5
SPAN_DAYS = 15.5
"""Logs longer than this are measured in units of their own length: all options in days are for a log of this span."""
LEAST_IN_STEP = 3000
"""Targets in the newest step of age, as far as there are as many."""
ACTIONS = 4
"""0 padding, 1 seen, 2 positive, 3 liked, in that order of strength."""
