"""What experiments change of one viewer's feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from feed_svc.feeds.sources import WEIGHTS
from feed_svc.settings import FeedSettings


@dataclass(frozen=True, slots=True)
class Tuning:
    """The configuration that a viewer's pages and builds are made with."""

    settings: FeedSettings
    source_weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    value_weights: Mapping[str, float] = field(default_factory=dict)
    """Of the ranker's value formula, instead of rank_svc's settings."""
    arms: tuple[tuple[str, str], ...] = ()
    """Experiments and arms that the viewer is in."""

    @property
    def label(self) -> str:
        """For impressions: `name=arm`, several with commas between."""
        return ",".join(f"{name}={arm}" for name, arm in self.arms)


class Tunings(Protocol):
    """Answered by the domain `experiments`. Neither waits nor fails."""

    def of(self, owner: str) -> Tuning:
        """The configuration of a viewer, see `Viewer.owner`."""
        ...

    def shown(self, owner: str, user_id: int, tuning: Tuning) -> None:
        """A page made with `tuning` was served."""
        ...


class NoExperiments:
    """`Tunings` of the settings alone."""

    def __init__(self, settings: FeedSettings) -> None:
        self._tuning = Tuning(settings)

    def of(self, owner: str) -> Tuning:
        return self._tuning

    def shown(self, owner: str, user_id: int, tuning: Tuning) -> None:
        return None
