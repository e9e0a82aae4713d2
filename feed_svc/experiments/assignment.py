"""Which arm a viewer is in: a hash of viewer, experiment and salt, so nothing is stored and nobody moves."""

from __future__ import annotations

import hashlib

from feed_svc.experiments.store import Arm, Experiment


def arm_of(experiment: Experiment, owner: str) -> Arm | None:
    """The arm of an owner; None when the experiment's share leaves them out, or when many share one name (owners
    `a...`: clients that are neither logged in nor name themselves).

    Changing weights moves as few viewers as possible between arms, changing the share none; another salt draws anew.
    """
    if owner.startswith("a"):
        return None
    if _uniform(f"{experiment.salt}/{experiment.name}/share/{owner}") >= experiment.share:
        return None
    place = _uniform(f"{experiment.salt}/{experiment.name}/arm/{owner}") * sum(arm.weight for arm in experiment.arms)
    for arm in experiment.arms:
        place -= arm.weight
        if place < 0:
            return arm
    return experiment.arms[-1]


def _uniform(text: str) -> float:
    """A number from 0 to below 1, uniform over texts. Digests of different texts are independent, and so are
    experiments."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / 2**56
