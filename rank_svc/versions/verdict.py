"""Worse, not worse, or too little to tell: the rule of promotion, over what users got from both versions.

A version is worse when its mean over users is below the serving one's by more than `margin` standard errors of the
paired difference. Below `least_users` users nothing is told: chance would decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rank_svc.versions.store import Outcome


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of both versions over the same users; more is better."""

    name: str
    serving: float
    candidate: float
    error: float
    """Standard error of the difference, paired by user."""
    users: int

    @property
    def difference(self) -> float:
        """Above 0: the candidate is better."""
        return self.candidate - self.serving

    def shown(self) -> dict[str, float | int]:
        """For JSON."""
        return {
            "serving": round(self.serving, 5),
            "candidate": round(self.candidate, 5),
            "difference": round(self.difference, 5),
            "standard_error": round(self.error, 5),
            "users": self.users,
        }


@dataclass(frozen=True, slots=True)
class Shadow:
    """A shadow evaluation: what was measured, on what, and why something was not."""

    compared: Sequence[Compared] = ()
    missing: Sequence[str] = ()
    """Why the data do not suffice; empty when all was measured."""
    held_out: dict[str, Any] = field(default_factory=dict)
    """What both versions were asked."""
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """PROMOTED, WORSE or TOO_LITTLE, and why."""

    outcome: Outcome
    reason: str


def judge(shadow: Shadow, *, least_users: int, margin: float) -> Verdict:
    """What a shadow evaluation says of a version."""
    few = [f"{c.name}: {c.users} users, at least {least_users} are needed" for c in shadow.compared]
    few = [text for text, c in zip(few, shadow.compared, strict=True) if c.users < least_users]
    if shadow.missing or few or not shadow.compared:
        return Verdict(Outcome.TOO_LITTLE, "; ".join([*shadow.missing, *few]) or "nothing could be measured")
    worse = [c for c in shadow.compared if c.difference < -margin * c.error]
    if worse:
        return Verdict(Outcome.WORSE, "; ".join(map(_told, worse)))
    return Verdict(Outcome.PROMOTED, "not worse: " + "; ".join(map(_told, shadow.compared)))


def _told(c: Compared) -> str:
    return f"{c.name} {c.candidate:.4f} against {c.serving:.4f} (standard error of the difference {c.error:.4f})"
