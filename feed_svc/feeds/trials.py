"""Which young video gets an exploration place: a draw that is the same for a seed, and its probability.

First come the impressions that every new public video is guaranteed: those furthest from theirs and waiting longest are
drawn among. A share of the places is for those that had theirs, and all of them while nobody waits: these grow or fade
by how their viewers took them. Either draw is Thompson sampling (Thompson 1933; Chapelle and Li, "An Empirical
Evaluation of Thompson Sampling", 2011): each video's completion rate is drawn from its Beta posterior, whose prior is
what is typical for the length, and the highest lift wins. The lift is counted in deviations of the prior, so that no
length is favoured before anything is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from feed_svc.feeds.store import Trial

PRIOR_WATCHES = 8.0
"""How many watches what is typical for a length weighs against a video's own."""
CHOICE = 20
"""A place is drawn among this many that are owed impressions, and as many that had them."""
NEED = 1.0
"""How many deviations of lift outweigh twice as many impressions, while some are owed."""
DRAWS = 128
"""The first draw decides; the share of all that come to the same is the propensity, so its least value is 1/128."""


def choose(
    video_ids: Sequence[int], trials: Mapping[int, Trial], *, growth_share: float, seed: str
) -> tuple[int, float]:
    """One of the videos and the probability with which it is chosen. Videos without a trial take part only when none
    has one: then all alike. Raises ValueError for no videos."""
    if not video_ids:
        raise ValueError("There is nothing to choose among.")
    rng = np.random.default_rng(int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big"))
    known = [video_id for video_id in video_ids if video_id in trials]
    if not known:
        some = list(video_ids[:CHOICE])
        return some[int(rng.integers(len(some)))], 1 / len(some)
    owed = sorted((i for i in known if _owed(trials[i]) > 0), key=lambda i: (-_owed(trials[i]), i))[:CHOICE]
    grown = [i for i in known if _owed(trials[i]) == 0][:CHOICE]
    winners = np.empty(DRAWS, np.int64)
    grows = rng.random(DRAWS) < growth_share if owed and grown else np.full(DRAWS, not owed)
    for pool, here in ((owed, ~grows), (grown, grows)):
        if here.any():
            winners[here] = np.array(pool, np.int64)[_best([trials[i] for i in pool], int(here.sum()), rng)]
    chosen = int(winners[0])
    return chosen, float((winners == chosen).mean())


def _owed(trial: Trial) -> float:
    """The share of its guaranteed impressions that a video still has to get."""
    return max(trial.guaranteed - trial.impressions, 0) / trial.guaranteed if trial.guaranteed > 0 else 0.0


def _best(trials: Sequence[Trial], draws: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """[draws] places of the winners."""
    typical = np.clip([trial.typical for trial in trials], 0.01, 0.99)
    completions = np.clip([trial.completions for trial in trials], 0, None)
    misses = np.clip([trial.watches - trial.completions for trial in trials], 0, None)
    rates = rng.beta(
        PRIOR_WATCHES * typical + completions, PRIOR_WATCHES * (1 - typical) + misses, (draws, len(trials))
    )
    lift = (rates - typical) / np.sqrt(typical * (1 - typical) / (PRIOR_WATCHES + 1))
    had = np.array([max(trial.impressions, 0) if _owed(trial) else 0 for trial in trials])
    values = lift - NEED * np.log2(1.0 + had)
    return np.asarray(np.argmax(values, axis=1), np.intp)
